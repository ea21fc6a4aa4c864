"""A function that cannot be imported by name -> a pickle, for an image with the same version of Python.

The pickle includes what the function refers to. An object of this package (a task, an environment, an image) becomes
the object that the worker has in its place. A pickle goes from the caller to the container only: nothing is unpickled
here.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.task.code import OUR_PACKAGES, other_roots
from flyte_images_runtime.task.exchange import Exchange
from flyte_images_runtime.task.spec import Code, TaskSpec
from flyte_images_runtime.values.signature import type_hints
from flyte_images_runtime.worker import stub

from ..environment import TaskEnvironment
from ..errors import SpecError
from ..task import Task

if TYPE_CHECKING:
    from collections.abc import Callable


def write_function(spec: TaskSpec, exchange: Exchange) -> None:
    """Write the pickle of a function into the exchange directory, with the package that reads it."""
    if spec.code.value is not None:
        import cloudpickle

        exchange.write_function(spec.code.value, Path(cloudpickle.__file__).parent)


def pickle_function(task: Task[..., Any]) -> Code:
    """Return the task's function as it is now. Raise SpecError if an object that it refers to cannot be pickled."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, Task):
                return stub.task_by_value, (value.environment.name, value.function)
            if isinstance(value, TaskEnvironment):
                return stub.TaskEnvironment, (value.name,)
            package = type(value).__module__.partition(".")[0]
            if package in OUR_PACKAGES and not isinstance(value, type) and _is_description(value):
                return stub.Described, ()
            return super().reducer_override(value)

    function: Callable[..., Any] = task.function
    buffer = io.BytesIO()
    try:
        Pickler(buffer, protocol=4).dump((function, type_hints(function)))
    except Exception as error:  # the pickling of a user's object can raise any exception
        raise SpecError(
            f"task `{task.name}` is defined in no module and cannot go by value: {type(error).__name__}: {error}",
            hint="define it at the top of a .py file, or remove the reference",
            location=task.location,
        ) from None
    return Code(
        module=function.__module__, qualname=function.__qualname__, roots=tuple(other_roots()), value=buffer.getvalue()
    )


def _is_description(value: Any) -> bool:
    """Return whether the value describes a build or a run. File and Dir do not: they are values of the task."""
    return not type(value).__module__.startswith("flyte_images_runtime.values")
