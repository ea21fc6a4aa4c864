"""Engine: the interface of everything that runs tasks: containers on this host and, later, other machines.

An engine gets a specification and the call's exchange directory. It reports facts; engines/outcome.py judges them for
all engines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ..resources.metrics import Usage
from .exchange import Exchange
from .spec import TaskSpec

Stream = Literal["stdout", "stderr"]
OnLine = Callable[[Stream, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a container ended, as the engine reports it."""

    exit_status: int
    oom_killed: bool = False
    timed_out: bool = False
    cancelled: bool = False
    usage: Usage = field(default_factory=Usage)


class Running(Protocol):
    """A task that was started."""

    def wait(self, on_line: OnLine) -> Ending:
        """Pass on the task's lines until it has ended. End it at its time limit."""
        ...

    def pid(self) -> int | None:
        """Return a process of this host that lives as long as the container; None if this host has none."""
        ...

    def usage(self) -> Usage:
        """Return what the task has used until now, from any thread; without figures where they are not known."""
        ...

    def cancel(self) -> None:
        """End the task now, from any thread. `wait` returns."""
        ...

    def remove(self) -> None:
        """Remove everything of the task from the engine's host. Can be called at any time, and twice."""
        ...


class Engine(Protocol):
    """Runs tasks in containers."""

    @property
    def name(self) -> str: ...

    def check(self, spec: TaskSpec) -> None:
        """Raise EngineLost if the engine cannot apply a part of the specification. Start nothing."""
        ...

    def start(self, spec: TaskSpec, exchange: Exchange) -> Running:
        """Start the task. Raise ImageCannotStart or EngineLost where it cannot start, and leave nothing of it."""
        ...
