"""Run, RunnerOptions, and the protocols of a call: the values that the other modules of this room share.

This module imports no module that starts anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from .state import RunnerState

if TYPE_CHECKING:
    from flyte_images_runtime.resources.limits import Limits
    from flyte_images_runtime.resources.metrics import Metrics, Usage
    from flyte_images_runtime.task.log import Log

    from ..progress import Progress
    from ..task import Task
    from .engines import EngineName
    from .nested_slots import Slots

R = TypeVar("R")
OnLine = Callable[[str, Literal["stdout", "stderr"], str], None]
"""Called with task, stream and line for each line that a task prints, as the task prints it."""
OnUsage = Callable[[str, str, "Usage | None"], None]
"""Called with task, run id and usage until now, twice a second; with None as usage at the end of the run."""


def to_stderr(task: str, stream: str, line: str) -> None:
    """Show a line that a task printed on stderr, after the name of the task."""
    from ..progress.status_line import say

    say(f"[{task}] {line}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Generic[R]):
    """A call of a task that has ended well.

    id        the name of the run for `flyte-images ps`, `logs` and `runs`
    result    the value that the function returned
    logs      the lines that the task printed: `.text`, `.stdout`, `.stderr`, or line by line
    metrics   what the run took: wall time and CPU time in seconds, throttling, peak memory in bytes, ...
    image     the reference of the image that the task ran in
    attempts  how often the task was started: 1, or more after retries; 0 for a cached result
    cached    True if the result is the result of an earlier run
    refused   the addresses outside network=[...] that the task asked for, and how often: {"example.org:443": 2}

    >>> from flyte_images_runtime.resources.metrics import Metrics
    >>> from flyte_images_runtime.task.log import Log
    >>> Run(task="ml.double", result=8, logs=Log(), metrics=Metrics(total=0.1), image="ml:1").result
    8
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """The fields of a Runner, which describes each."""

    on_line: OnLine | None = to_stderr
    on_state: OnLine | None = None
    on_usage: OnUsage | None = None
    progress: Progress | None = field(default=None, compare=False)
    builder: str | None = None
    engine: EngineName = "auto"
    nested_calls: int | None = None
    as_is: bool = False
    state: RunnerState = field(default_factory=lambda: RunnerState(os.environ), compare=False, repr=False)

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment variables of the caller: settings, addresses of engines, values of secrets."""
        return self.state.environ


class CallLike(Protocol):
    """A call that can be run, and canceled from another thread."""

    @property
    def task(self) -> Task[..., Any]: ...

    def run(self) -> Run[Any]: ...

    def cancel(self) -> None: ...


class ParentCall(CallLike, Protocol):
    """A call whose task can call other tasks. `parent` is None unless the call is itself such a nested call."""

    @property
    def parent(self) -> ParentCall | None: ...

    @property
    def depth(self) -> int: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def slots(self) -> Slots: ...

    @property
    def options(self) -> RunnerOptions: ...

    def nested(
        self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], group: str = ""
    ) -> ParentCall: ...

    def discard_artifacts(self) -> None: ...
