"""run(task, ...) -> Run: build the image if needed, run the task in it under its limits, wait for the result.

    run = flyte.run(train, rows=10)
    run.result, run.logs.text, run.metrics.peak_memory

`flyte.run.aio(...)` is `flyte.run` for an event loop. `flyte.run.map(task, items)` runs a task for many items, and
`flyte.map` returns the results of that only. An exception of the task is raised again here, as itself if its class is
built in, else as `Raised`. The other ends of a task are errors in flyte_images/errors.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..errors import SpecError
from ..task import Task
from .model import OnLine, OnUsage, Run, RunnerOptions

if TYPE_CHECKING:
    from ..image import Image
    from .call import TaskCall

__all__ = ["OnLine", "OnUsage", "Run", "Runner", "map", "run"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner(RunnerOptions):
    """Runs tasks. `flyte.run` is a Runner, and `flyte.run.using(...)` makes another one with other options.

    on_line   called for each line that a task prints (default: show the line on stderr); None for silence
    on_state  called at most twice a second with a line that overwrites itself, such as a progress bar
    on_usage  called twice a second, in another thread, with what a running task has used until now
    progress  shows the progress of builds
    builder   the BuildKit that builds images, as in `flyte.build`
    engine    "docker", "podman", "nerdctl", "oci" (crun or runc without a daemon), or "auto" (engines.py)
    nested_calls  how many calls that tasks make from inside may work at once, below one call of this Runner
    as_is     raise an exception of the task as `Raised`, never as a built-in class
    state     the environment variables, the caches and the warm containers, which `using` shares

    >>> docker = run.using(engine="docker", on_line=None)
    >>> docker.engine, run.engine
    ('docker', 'auto')
    """

    def using(self, **changes: Any) -> Runner:
        """Return this Runner with other options. Both share their caches and warm containers."""
        return replace(self, **changes)

    def __call__(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Run[Any]:
        """Run `task` in its image and wait for its end.

        Raise the exception of the task, or a TaskError for another end: OutOfMemory, TimedOut, Killed, DiskFull, ...
        Raise SpecError for a wrong description, BuildError for an image that cannot be built, EngineError without an
        engine.

        >>> import flyte_images as flyte
        >>> env = flyte.TaskEnvironment(name="ml", limits=flyte.Resources(cpu="1", mem="256Mi"))
        >>> @env.task
        ... def double(n: int) -> int:
        ...     return 2 * n
        >>> done = flyte.run(double, 4)
        >>> done.result, done.attempts, done.metrics.peak_memory < 256 * 2**20
        (8, 1, True)
        """
        return self.call(task, args, kwargs).run()

    async def aio(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Run[Any]:
        """Run `task` without blocking the event loop. Cancellation of the coroutine ends the task.

        >>> import asyncio
        >>> import flyte_images as flyte
        >>> env = flyte.TaskEnvironment(name="ml")
        >>> @env.task
        ... def double(n: int) -> int:
        ...     return 2 * n
        >>> asyncio.run(flyte.run.aio(double, 4)).result
        8
        """
        from .aio import run_in_thread

        return await run_in_thread(self.call(task, args, kwargs))

    def map(
        self,
        task: Task[..., R],
        *iterables: Iterable[Any],
        concurrency: int | None = None,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """Run the task for each item, or for each row of several iterables, at most `concurrency` at once.

        Return the Runs in the order of the items. The first failure cancels the other calls and is raised; with
        `return_exceptions` each failure is in the list instead. `concurrency` is by default the number of tasks with
        these limits that this machine holds. The progress is shown where `progress` shows builds, else on stderr;
        with `on_line=None` and without `progress` it is not shown.

        >>> import flyte_images as flyte
        >>> env = flyte.TaskEnvironment(name="ml", limits=flyte.Resources(cpu="1", mem="256Mi"))
        >>> @env.task
        ... def half(n: int) -> float:
        ...     return 1 / n
        >>> runs = flyte.run.map(half, [1, 0], return_exceptions=True)
        >>> runs[0].result, runs[1]
        (1.0, ZeroDivisionError('division by zero'))
        """
        from .parallel_map import map_calls, show_counts

        calls = [self.call(task, items, {}, one_of_many=True) for items in zip(*iterables, strict=False)]
        with show_counts(self, calls) as on_counts:
            return map_calls(calls, concurrency=concurrency, return_exceptions=return_exceptions, on_counts=on_counts)

    def call(
        self, task: Task[..., R], args: tuple[Any, ...], kwargs: dict[str, Any], *, one_of_many: bool = False
    ) -> TaskCall:
        """Return a call of the task that has not begun. One of many does not scan the source files for itself."""
        from .call import TaskCall

        if not isinstance(task, Task):
            raise SpecError(f"{task!r} is not a task", hint="give run a function that has @env.task above it")
        return TaskCall(task, args, kwargs, self, one_of_many=one_of_many)

    def image(self, image: Image) -> str:
        """Return the reference of the image in the engine. Build the image if needed."""
        return self.state.images.reference(image, progress=self.progress, builder=self.builder)

    def close(self) -> None:
        """Remove the warm containers that wait for a call, of this Runner and of those that `using` made from it."""
        self.state.close()


run = Runner()


def map(
    task: Task[..., R], *iterables: Iterable[Any], concurrency: int | None = None, return_exceptions: bool = False
) -> list[Any]:
    """Run the task for each item as `flyte.run.map` does, and return the results in the order of the items.

    >>> import flyte_images as flyte
    >>> env = flyte.TaskEnvironment(name="ml", limits=flyte.Resources(cpu="1", mem="256Mi"))
    >>> @env.task
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> flyte.map(double, [1, 2, 3], concurrency=2)
    [2, 4, 6]
    """
    runs = run.map(task, *iterables, concurrency=concurrency, return_exceptions=return_exceptions)
    return [outcome.result if isinstance(outcome, Run) else outcome for outcome in runs]
