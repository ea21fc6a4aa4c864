"""run(task, ...) -> Run: build the image if needed, run the task in it under its limits, wait, give back the result.

    run = flyte.run(train, rows=10)
    run.result, run.logs.text, run.metrics.peak_memory

`flyte.run.aio(...)` is the same for an event loop, `flyte.run.map(task, items)` runs many, `flyte.map` gives their
results. What the task raises is raised here: as itself if its class is built in, else as `Raised`; how else it can end
is in flyte_images.errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar

from ..errors import SpecError
from ..task import Task

if TYPE_CHECKING:
    from flyte_images_runtime.resources.metrics import Metrics, Usage
    from flyte_images_runtime.task.log import Log

    from ..image import Image
    from ..progress import Progress
    from .call import Call
    from .engines import EngineName

P = ParamSpec("P")
R = TypeVar("R")
OnLine = Callable[[str, Literal["stdout", "stderr"], str], None]
"""Task, stream, line: what a task prints, as it prints it."""
OnUsage = Callable[[str, str, "Usage | None"], None]
"""Task, the run's id, what it has used until now: twice a second, and None at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Generic[R]):
    """One task, done.

    id        by which `flyte-images ps`, `logs` and `runs` know it
    result    what the function returned
    logs      what it printed: `.text`, `.stdout`, `.stderr`, or line by line
    metrics   what it took: wall and CPU time, throttling, peak memory, ...
    image     the reference of the image that it ran in
    attempts  1, or more if it had to be tried again
    cached    the result is an earlier run's
    refused   what network=[...] does not name and the task asked for, and how often: {"example.org:443": 2}
    """

    task: str
    result: R
    logs: Log
    metrics: Metrics
    image: str
    attempts: int = 1
    cached: bool = False
    id: str = ""
    refused: Mapping[str, int] = field(default_factory=dict)


def to_stderr(task: str, stream: str, line: str) -> None:
    """Show what tasks print, each line with its task."""
    from ..progress.status_line import say

    say(f"[{task}] {line}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """How tasks are run. `flyte.run` is one; `flyte.run.using(...)` makes another.

    on_line   called with what a task prints (default: to stderr); None for silence
    on_state  called twice a second at most with what a line shows that overwrites itself, such as a progress bar
    on_usage  called twice a second, in a thread of its own, with what a running task has used until now
    progress  shows builds
    builder   whom to ask for builds
    engine    "docker", "podman", "nerdctl", "oci" (crun or runc without a daemon), or "auto" (engines.py)
    nested_calls  how many calls that tasks make from inside work at once, below one call of this runner; others wait
    as_is     raise what the task raised as `Raised`, never as a built-in class
    """

    on_line: OnLine | None = to_stderr
    on_state: OnLine | None = None
    on_usage: OnUsage | None = None
    progress: Progress | None = field(default=None, compare=False)
    builder: str | None = None
    engine: EngineName = "auto"
    nested_calls: int | None = None
    as_is: bool = False

    def using(self, **changes: Any) -> Runner:
        """This runner with some of its fields changed."""
        return replace(self, **changes)

    def __call__(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Run[Any]:
        """Run `task` in its image and wait for it."""
        return self.call(task, args, kwargs).run()

    async def aio(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Run[Any]:
        """The same for an event loop. Cancelling it ends the task."""
        from .aio import awaited

        return await awaited(self.call(task, args, kwargs))

    def map(
        self,
        task: Task[..., R],
        *iterables: Iterable[Any],
        concurrency: int | None = None,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """Run the task for each item (or for each row of several iterables), at most `concurrency` at once.

        Returns the runs in the order of the items. The first failure ends the others and is raised; with
        `return_exceptions` it takes its run's place. Without `concurrency`: as many as this machine holds. How far it
        is stands on stderr, or where `progress` shows builds; with `on_line=None` and no `progress` nowhere.
        """
        from .parallel_map import counted, map_calls

        calls = [self.call(task, items, {}) for items in zip(*iterables, strict=False)]
        with counted(self, calls) as told:
            return map_calls(calls, concurrency=concurrency, return_exceptions=return_exceptions, told=told)

    def call(self, task: Task[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """A call that has not begun."""
        from .call import Call

        if not isinstance(task, Task):
            raise SpecError(f"{task!r} is not a task", hint="give run a function that has @env.task above it")
        return Call(task, args, kwargs, self)

    def image(self, image: Image) -> str:
        """The reference of the image in the engine; it is built if it has to be."""
        from .task_spec import ready_image

        return ready_image(image, progress=self.progress, builder=self.builder)


run = Runner()


def map(
    task: Task[..., R], *iterables: Iterable[Any], concurrency: int | None = None, return_exceptions: bool = False
) -> list[Any]:
    """`run.map` for who wants the results only: what the task returned for each item, in the order of the items."""
    runs = run.map(task, *iterables, concurrency=concurrency, return_exceptions=return_exceptions)
    return [done.result if isinstance(done, Run) else done for done in runs]
