"""Engine: what runs a task. One interface for containers on this host and, later, for machines elsewhere.

An engine is given a specification and the exchange directory that goes with it. It reports facts; what they mean is
decided in one place for all engines (ends.py).
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
    """How a container ended, as the engine tells it."""

    exit_status: int
    oom_killed: bool = False
    timed_out: bool = False
    cancelled: bool = False
    usage: Usage = field(default_factory=Usage)


class Running(Protocol):
    """A task that was started."""

    def wait(self, on_line: OnLine) -> Ending:
        """Pass on what it prints until it has ended. Ends it at its time limit."""
        ...

    def pid(self) -> int | None:
        """A process of this host that lives as long as the container; None where there is none."""
        ...

    def usage(self) -> Usage:
        """What it has used until now; from any thread. Empty where that is not known."""
        ...

    def cancel(self) -> None:
        """End it now; from any thread. `wait` returns."""
        ...

    def remove(self) -> None:
        """Leave nothing of it on the engine's host. Can be called at any time, and twice."""
        ...


class Engine(Protocol):
    """What can run tasks."""

    @property
    def name(self) -> str: ...

    def check(self, spec: TaskSpec) -> None:
        """Raise EngineLost if something that the task asks for cannot be applied here. Starts nothing."""
        ...

    def start(self, spec: TaskSpec, exchange: Exchange) -> Running:
        """Start the task. Raises ImageCannotStart or EngineLost, and then has left nothing."""
        ...
