"""Metrics: what a run used. Usage: what its cgroup says. Values."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A cgroup's account of itself and all below it. None: this kernel does not tell."""

    cpu: float | None = None
    throttled: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    peak_memory: int | None = None
    oom_kills: int | None = None
    peak_pids: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None

    def or_else(self, other: Usage) -> Usage:
        """This account; what it lacks, from another."""
        mine, theirs = asdict(self), asdict(other)
        return Usage(**{name: theirs[name] if value is None else value for name, value in mine.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What one run took. Times in seconds, sizes in bytes.

    queue      waiting for its turn and for devices
    start      from asking the engine until the task's function began
    wall       the function itself
    total      all of it, with what came after
    cpu        CPU time of all its processes
    throttled  time in which it was held back by its CPU limit
    """

    queue: float = 0.0
    start: float | None = None
    wall: float | None = None
    total: float
    cpu: float | None = None
    throttled: float | None = None
    throttled_periods: int | None = None
    peak_memory: int | None = None
    peak_pids: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None

    def as_dict(self) -> dict[str, float | int | None]:
        """For machines."""
        return asdict(self)
