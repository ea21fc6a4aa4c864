"""Metrics: what a run used. Usage: what a cgroup reports. Values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a task and all its processes have used, until now or until their end. None: the figure is not known.

    cpu, throttled                 seconds
    periods, throttled_periods     scheduler periods, and those in which the CPU limit stopped the task
    peak_memory, peak_pids         the highest values: bytes; processes and threads
    oom_kills                      processes that the kernel killed for lack of memory
    ..._bytes                      read from and written to disks; received and sent over the task's network
    memory, gpu_memory             bytes at this moment
    gpu_utilisation                the share of time in which the task's cards compute at this moment, from 0 to 1

    >>> Usage(cpu=1.5).or_else(Usage(cpu=2.0, memory=4096)).cpu
    1.5
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
        """Return this usage, with the figures of `other` where this one has None."""
        names = self.__dataclass_fields__
        mine = {name: getattr(self, name) for name in names}
        return Usage(**{name: getattr(other, name) if value is None else value for name, value in mine.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What one run used. Times in seconds, sizes in bytes. None: the figure is not known.

    queue      waiting for a turn and for devices
    start      from the request to the engine until the task's function began
    wall       the task's function
    total      from the call to the result, everything included
    cpu        CPU time of all processes of the task
    throttled  time in which the CPU limit stopped the task
    read_bytes, written_bytes     from and to disks
    received_bytes, sent_bytes    over the task's own network; None without one, and with the host's network
    gpu_peak_memory, gpu_utilisation  of the task's cards: the most memory in use on all cards together, and the mean
                                      share of time in which the cards computed, from 0 to 1

    >>> Metrics(total=2.5, cpu=4.0).as_dict()["cpu"]
    4.0
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
        """Return the figures by their names, for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
