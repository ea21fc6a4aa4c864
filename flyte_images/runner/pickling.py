"""A function that no module holds -> a pickle of it, for an image with the same Python. Only ever from here to there.

What it refers to goes with it; what is of this package (tasks, environments, images) arrives as what the worker has in
its place.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.task.code import other_roots
from flyte_images_runtime.task.exchange import Exchange
from flyte_images_runtime.task.spec import Code, TaskSpec
from flyte_images_runtime.values.signature import type_hints
from flyte_images_runtime.worker import stub

from ..environment import TaskEnvironment
from ..errors import SpecError
from ..task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

_OURS = ("flyte_images", "flyte_images_layers", "flyte_images_runtime")


def write_function(spec: TaskSpec, exchange: Exchange) -> None:
    """Write a function that goes by value into the exchange, with the package that reads it."""
    if spec.code.value is not None:
        import cloudpickle

        exchange.write_function(spec.code.value, Path(cloudpickle.__file__).parent)


def by_value(task: Task[..., Any]) -> Code:
    """The task's function as it is now. SpecError if something that it refers to cannot go along."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, found: Any) -> Any:
            if isinstance(found, Task):
                return stub.task_by_value, (found.environment.name, found.function)
            if isinstance(found, TaskEnvironment):
                return stub.TaskEnvironment, (found.name,)
            package = type(found).__module__.partition(".")[0]
            if package in _OURS and not isinstance(found, type) and _is_description(found):
                return stub.Described, ()
            return super().reducer_override(found)

    function: Callable[..., Any] = task.function
    buffer = io.BytesIO()
    try:
        Pickler(buffer, protocol=4).dump((function, type_hints(function)))
    except Exception as error:  # whatever the pickling of a user's object raises
        raise SpecError(
            f"task `{task.name}` is defined in no module and cannot go by value: {type(error).__name__}: {error}",
            hint="define it at the top of a .py file, or do without what it refers to",
            location=task.location,
        ) from None
    return Code(
        module=function.__module__, qualname=function.__qualname__, roots=tuple(other_roots()), value=buffer.getvalue()
    )


def _is_description(found: Any) -> bool:
    """Is it one of the values that say how something is built or run? File and Dir are values of the task."""
    return not type(found).__module__.startswith("flyte_images_runtime.values")
