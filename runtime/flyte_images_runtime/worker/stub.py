"""A stand-in for `flyte_images` inside the image, which the task's module can import but which builds nothing.

The user's file imports `flyte_images` and describes images and environments at its top. In the container those
descriptions decide nothing, so the stub accepts all of them and keeps them as they are; only `task` has an effect: it
keeps the function. So an image needs neither flyte_images nor its dependencies, and any Python from 3.8 on works.
"""

from __future__ import annotations

import sys

try:
    from _frozen_importlib import ModuleSpec  # importlib.machinery's, without importlib
except ImportError:  # another Python than CPython
    from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_NAMES = ("flyte_images", "flyte_images_layers")


class _Open(type):
    """A metaclass whose classes have every attribute: `Image.from_debian_base`, `GPUAccelerator.NVIDIA_A10G`."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls()


class Described(metaclass=_Open):
    """An object that accepts any call and has each keyword argument as an attribute."""

    described = True

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
    """An environment, which makes tasks of functions."""

    def __init__(self, name: str = "", **kwargs: Any) -> None:
        Described.__init__(self, name=name, **kwargs)

    def clone_with(self, name: str, **kwargs: Any) -> TaskEnvironment:
        options = {key: value for key, value in self.__dict__.items() if key != "name"}
        return TaskEnvironment(name, **{**options, **kwargs})

    def task(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        if function is None:
            return lambda later: Task(self, later)
        return Task(self, function)


class Task:
    """A task of the user's. A call of one of this container's environment runs the function right here."""

    def __init__(self, env: Any, function: Callable[..., Any], settings: Any = None) -> None:
        self.__dict__.update(function.__dict__)
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):  # as functools.wraps does
            setattr(self, name, getattr(function, name))
        self.__wrapped__ = function
        self.env = env
        self.function = function
        self.settings = settings or {}

    def __getattr__(self, name: str) -> Any:
        if name == "__annotations__":
            return self.function.__annotations__
        raise AttributeError(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._is_local():
            return self.function(*args, **kwargs)
        return self.call_remote_async(args, kwargs) if _is_async(self.function) else self.call_remote(args, kwargs)

    def _is_local(self) -> bool:
        return not self.settings and _container.get("environment") in (None, self.env.name)

    def call_remote(self, args: Any, kwargs: Any) -> Any:
        """Run the task in a container of its environment, and wait for the result."""
        if "environment" not in _container:
            raise RuntimeError(_IMPORTED)
        from flyte_images_runtime.worker import nested_client

        return nested_client.call(self, args, kwargs)

    async def call_remote_async(self, args: Any, kwargs: Any) -> Any:
        """Do the same while the event loop goes on. Each call waits in a thread, so all calls run at once."""
        import asyncio
        import threading

        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def settle(method: Any, value: Any) -> None:
            if not done.done():
                method(value)

        def work() -> None:
            try:
                outcome = self.call_remote(args, kwargs)
            except BaseException as error:
                loop.call_soon_threadsafe(settle, done.set_exception, error)
            else:
                loop.call_soon_threadsafe(settle, done.set_result, outcome)

        threading.Thread(target=work, daemon=True).start()
        return await done

    @property
    def name(self) -> str:
        return "%s.%s" % (self.env.name, self.function.__name__)

    def override(self, **options: Any) -> Task:
        return Task(self.env, self.function, {**self.settings, **options})

    async def aio(self, *args: Any, **kwargs: Any) -> Any:
        if not self._is_local():
            return await self.call_remote_async(args, kwargs)
        if _is_async(self.function):
            return await self.function(*args, **kwargs)
        import asyncio

        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, lambda: self.function(*args, **kwargs))


def task_by_value(environment: str, function: Callable[..., Any]) -> Task:
    """Return a task to which a pickled function refers."""
    return Task(TaskEnvironment(environment), function)


def _is_async(function: Callable[..., Any]) -> bool:
    return bool(function.__code__.co_flags & 0x80)  # CO_COROUTINE; `inspect` is slow to import


_container: dict[str, Any] = {}
"""The environment of this container, set when the module is imported and the task begins."""


def begin(call: dict[str, Any]) -> None:
    """Note that the task begins: from now on, tasks of other environments run in other containers."""
    _container["environment"] = call["task"].rpartition(".")[0]


def function_of(value: Any) -> Any:
    """Return the function of a task; any other value is returned as it is."""
    return value.function if isinstance(value, Task) else value


class Run:
    """The object that `flyte.run` returns inside a task: it has the result."""

    def __init__(self, task: Any, result: Any) -> None:
        self.task = task.name
        self.result = result


class _Runner:
    """`flyte.run` inside a task: the other task always runs in another container."""

    def __call__(self, task: Any, *args: Any, **kwargs: Any) -> Run:
        if "environment" not in _container:
            raise RuntimeError(_IMPORTED)
        return Run(task, task.call_remote(args, kwargs))

    async def aio(self, task: Any, *args: Any, **kwargs: Any) -> Run:
        return Run(task, await task.call_remote_async(args, kwargs))

    def map(self, task: Any, *iterables: Any, concurrency: int = 4, return_exceptions: bool = False) -> list[Any]:
        from concurrent.futures import ThreadPoolExecutor

        def call(args: Any) -> Any:
            try:
                return self(task, *args)
            except Exception as error:
                if return_exceptions:
                    return error
                raise

        with ThreadPoolExecutor(concurrency) as pool:
            return list(pool.map(call, zip(*iterables)))  # noqa: B905 Python 3.8

    def using(self, **changes: Any) -> _Runner:
        return self


def build(*args: Any, **kwargs: Any) -> Any:
    """Raise RuntimeError: images are not built inside a container."""
    raise RuntimeError("flyte_images.build was called inside a container: images are built outside of tasks")


run = _Runner()


def results(*args: Any, **kwargs: Any) -> list[Any]:
    """`flyte_images.map`."""
    return [outcome.result if isinstance(outcome, Run) else outcome for outcome in run.map(*args, **kwargs)]


_IMPORTED = (
    "flyte_images.run was called while a container imports the module: if the module runs its tasks when it is "
    'imported, put that below `if __name__ == "__main__":`'
)


class _Module(type(sys)):  # type: ignore[misc] # types.ModuleType
    """The stub module: each attribute is made at first use, by its name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("File", "Dir"):
            from flyte_images_runtime import values

            return getattr(values, name)
        value = self._make(name)
        setattr(self, name, value)
        return value

    def _make(self, name: str) -> Any:
        if name.endswith("Error") or name in _OUTCOMES.split():
            from flyte_images_runtime.worker import nested_client

            return nested_client.error_class(name)
        if name == "errors" and self.__name__ == "flyte_images":
            __import__("flyte_images.errors")
            return sys.modules["flyte_images.errors"]
        if name == "TaskEnvironment":
            return TaskEnvironment
        if name in ("run", "map", "build"):
            return {"run": run, "map": results, "build": build}[name]
        return type(name, (Described,), {"__module__": self.__name__}) if name[:1].isupper() else Described()


_OUTCOMES = (
    "Raised NotSerializable NotSerialisable InvalidResult InvalidArgument OutOfMemory DiskFull TimedOut Killed"
    " Cancelled ImageCannotStart EngineLost"
)


class _Finder:
    """Finds and loads the stub for the names of the package."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in _NAMES:
            loader: Any = self  # not a subclass of importlib.abc.Loader: importlib.abc is slow to import
            return ModuleSpec(name, loader, is_package=True)
        return None

    def create_module(self, spec: Any) -> Any:
        return _Module(spec.name, __doc__)

    def exec_module(self, module: Any) -> None:
        pass


def install() -> None:
    """Let `import flyte_images` import this stub."""
    sys.meta_path.insert(0, _Finder())
