"""`flyte_images` as the task's module sees it inside the image: there to be imported, not to build anything.

The user's file says `import flyte_images as flyte` and describes images and environments at its top. In the container
those descriptions decide nothing any more, so they are taken and kept as they are given; only `task` does something: it
keeps the function. So an image needs neither flyte_images nor what it depends on, and any Python from 3.8 will do.
"""

from __future__ import annotations

import functools
import importlib.machinery
import sys
import types
from typing import Any, Callable

_NAMES = ("flyte_images", "flyte_images_layers")


class _Open(type):
    """A class that has every attribute: `Image.from_debian_base`, `GPUAccelerator.NVIDIA_A10G`."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls()


class Described(metaclass=_Open):
    """Takes any call; what it was given by name, it has as an attribute."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.__dict__.update(kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self

    def __str__(self) -> str:
        return "<described outside this container>"


class TaskEnvironment(Described):
    def __init__(self, name: str = "", **kwargs: Any) -> None:
        Described.__init__(self, name=name, **kwargs)

    def task(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        if function is None:
            return lambda later: Task(self, later)
        return Task(self, function)


class Task:
    """A task of the user's: a call runs the function here."""

    def __init__(self, env: Any, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.env = env
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    @property
    def name(self) -> str:
        return "%s.%s" % (self.env.name, self.function.__name__)

    def override(self, **options: Any) -> Task:
        return self

    async def aio(self, *args: Any, **kwargs: Any) -> Any:
        import asyncio
        import inspect

        if inspect.iscoroutinefunction(self.function):
            return await self.function(*args, **kwargs)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, functools.partial(self.function, *args, **kwargs))


def function_of(found: Any) -> Any:
    """The function that a module's name stands for."""
    return found.function if isinstance(found, Task) else found


def run(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError(
        "flyte_images.run was called inside a container: if the module runs its tasks when it is imported, "
        'put that below `if __name__ == "__main__":`'
    )


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("File", "Dir"):
            from flyte_images_runtime import values

            return getattr(values, name)
        made = self._make(name)
        setattr(self, name, made)
        return made

    def _make(self, name: str) -> Any:
        if name.endswith("Error") or name in _ENDS:
            return type(name, (Exception,), {"__module__": self.__name__})
        if name == "TaskEnvironment":
            return TaskEnvironment
        if name in ("run", "build"):
            return run
        return type(name, (Described,), {"__module__": self.__name__}) if name[:1].isupper() else Described()


_ENDS = (
    "Raised NotSerialisable InvalidArgument OutOfMemory DiskFull TimedOut Killed ImageCannotStart EngineLost".split()
)


class _Finder:
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in _NAMES:
            loader: Any = self  # importlib.abc is slow to import, and only a name
            return importlib.machinery.ModuleSpec(name, loader, is_package=True)
        return None

    def create_module(self, spec: Any) -> Any:
        return _Module(spec.name, __doc__)

    def exec_module(self, module: Any) -> None:
        pass


def install(call: dict[str, Any]) -> None:
    sys.meta_path.insert(0, _Finder())
