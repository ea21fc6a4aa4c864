"""Task: a function, the environment that it belongs to, and how it runs. A plain call runs it here, in this process."""

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
    """What a task needs of the environment that made it."""

    @property
    def name(self) -> str: ...

    @property
    def built_image(self) -> Image: ...


class Task(Generic[P, R]):
    """What `@env.task` makes of a function."""

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
        """`environment.function`."""
        return f"{self.environment.name}.{self.function.__name__}"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run it here without blocking the event loop: an async function is awaited, any other gets a thread."""
        if inspect.iscoroutinefunction(self.function):
            return await self.function(*args, **kwargs)
        import asyncio

        return await asyncio.to_thread(self.function, *args, **kwargs)

    def override(self, **settings: Unpack[Settings]) -> Task[P, R]:
        """The same task with other options: `train.override(timeout=60, limits=Resources(cpu=1))`."""
        location = caller()
        return Task(self.function, self.environment, self.options.changed(settings, location), location)

    @functools.cached_property
    def signature(self) -> Signature:
        """How its arguments and its result cross. SpecError if something in it cannot."""
        from flyte_images_runtime.values import Problem, Signature

        try:
            return Signature(self.function)
        except Problem as problem:
            raise SpecError(
                f"task `{self.name}`: {problem.message}", hint=problem.hint, location=self.location
            ) from None

    def parameters(self) -> tuple[Parameter, ...]:
        """What a command line can give it: name, type, default, choices."""
        from flyte_images_runtime.values.cli_args import parameters

        return parameters(self.signature)

    def parse(self, given: Mapping[str, str | Sequence[str]]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Texts by parameter -> (args, kwargs) of a call; JSON for containers. SpecError names the parameter."""
        from flyte_images_runtime.values import Problem
        from flyte_images_runtime.values.cli_args import arguments

        try:
            return arguments(self.signature, given)
        except Problem as problem:
            raise SpecError(f"task `{self.name}`: {problem.message}", hint=problem.hint) from None

    def __repr__(self) -> str:
        return f"<task {self.name}>"


def check_function(function: Any, location: Location) -> None:
    """Refuse what cannot be a task."""
    if isinstance(function, Task):
        raise SpecError(f"`{function.name}` is a task already", location=location)
    if not inspect.isfunction(function):
        raise SpecError(f"{function!r} is not a function", hint="@env.task above a `def`", location=location)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise SpecError(
            f"task `{function.__name__}` yields", hint="a task has one result: return a list", location=location
        )
