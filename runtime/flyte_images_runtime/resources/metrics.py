"""Metrics: what a run used. Usage: what its cgroup says. Values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A task's account of itself and all below it, until now or until its end. None: that is not known here.

    The last three are of this moment: memory, and what its cards do (used bytes of all, share of the time from 0 to 1).
    """

    cpu: float | None = None
    throttled: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    peak_memory: int | None = None
    oom_kills: int | None = None
    peak_pids: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    received_bytes: int | None = None
    sent_bytes: int | None = None
    memory: int | None = None
    gpu_memory: int | None = None
    gpu_utilisation: float | None = None

    def or_else(self, other: Usage) -> Usage:
        """This account; what it lacks, from another."""
        names = self.__dataclass_fields__
        mine = {name: getattr(self, name) for name in names}
        return Usage(**{name: getattr(other, name) if value is None else value for name, value in mine.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What one run took. Times in seconds, sizes in bytes.

    queue      waiting for its turn and for devices
    start      from asking the engine until the task's function began
    wall       the function itself
    total      all of it, with what came after
    cpu        CPU time of all its processes
    throttled  time in which it was held back by its CPU limit
    read_bytes, written_bytes     from and to disks
    received_bytes, sent_bytes    over its own network; None where it had none, or the host's
    gpu_peak_memory, gpu_utilisation  of the cards that it had: the most that was in use on all together, and the mean
                                      share of the time in which they computed, from 0 to 1
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
    received_bytes: int | None = None
    sent_bytes: int | None = None
    gpu_peak_memory: int | None = None
    gpu_utilisation: float | None = None

    def as_dict(self) -> dict[str, float | int | None]:
        """For machines."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
