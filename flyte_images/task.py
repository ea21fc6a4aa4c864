"""`Task`: a function, its environment, and its options. A plain call runs the function in this process."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, Unpack

from ._validate import caller
from .errors import Location, SpecError
from .options import Options, Settings

if TYPE_CHECKING:
    from flyte_images_runtime.values import Signature
    from flyte_images_runtime.values.cli_args import Parameter

    from .image import Image

P = ParamSpec("P")
R = TypeVar("R")


class Environment(Protocol):
    """The part of TaskEnvironment that a task uses."""

    @property
    def name(self) -> str: ...

    @property
    def built_image(self) -> Image: ...


class Task(Generic[P, R]):
    """A function that `@env.task` made a task. `run(task, ...)` runs it in its image; `task(...)` runs it here.

    >>> from flyte_images import TaskEnvironment
    >>> @TaskEnvironment(name="ml").task
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> double, double(4), double.override(timeout=60).options.timeout
    (<task ml.double>, 8, 60.0)
    """

    def __init__(
        self, function: Callable[P, R], environment: Environment, options: Options, location: Location
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.environment = environment
        self.options = options
        self.location = location

    @property
    def name(self) -> str:
        """The name of the environment and of the function: `ml.double`."""
        return f"{self.environment.name}.{self.function.__name__}"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run the function here without blocking the event loop: await an async one, run any other in a thread.

        >>> import asyncio
        >>> from flyte_images import TaskEnvironment
        >>> @TaskEnvironment(name="ml").task
        ... def double(n: int) -> int:
        ...     return 2 * n
        >>> asyncio.run(double.aio(4))
        8
        """
        if inspect.iscoroutinefunction(self.function):
            return await self.function(*args, **kwargs)
        import asyncio

        return await asyncio.to_thread(self.function, *args, **kwargs)

    def override(self, **settings: Unpack[Settings]) -> Task[P, R]:
        """Return the same task with other options: `train.override(timeout=60, limits=Resources(cpu=1))`.

        Raises:
            SpecError: An option is not valid.
        """
        location = caller()
        return Task(self.function, self.environment, self.options.changed(settings, location), location)

    @functools.cached_property
    def signature(self) -> Signature:
        """How arguments and result cross to a container and back.

        Raises:
            SpecError: An annotation is missing, or its type cannot cross.
        """
        from flyte_images_runtime.values import Problem, Signature

        try:
            return Signature(self.function)
        except Problem as problem:
            raise SpecError(
                f"task `{self.name}`: {problem.message}", hint=problem.hint, location=self.location
            ) from None

    def parameters(self) -> tuple[Parameter, ...]:
        """Return the parameters that a command line can give: name, type, default, choices."""
        from flyte_images_runtime.values.cli_args import parameters

        return parameters(self.signature)

    def parse(self, given: Mapping[str, str | Sequence[str]]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return (args, kwargs) of a call from texts by parameter; lists, dictionaries and the like are JSON.

        Raises:
            SpecError: A parameter does not exist or is missing, or its text is not a value of its type.
        """
        from flyte_images_runtime.values import Problem
        from flyte_images_runtime.values.cli_args import arguments

        try:
            return arguments(self.signature, given)
        except Problem as problem:
            raise SpecError(f"task `{self.name}`: {problem.message}", hint=problem.hint) from None

    def __repr__(self) -> str:
        return f"<task {self.name}>"


def check_function(function: Any, location: Location) -> None:
    """Raise SpecError if `function` cannot be a task."""
    if isinstance(function, Task):
        raise SpecError(f"`{function.name}` is already a task", location=location)
    if not inspect.isfunction(function):
        raise SpecError(f"{function!r} is not a function", hint="@env.task above a `def`", location=location)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise SpecError(
            f"task `{function.__name__}` yields", hint="a task has one result: return a list", location=location
        )
