"""How many nested calls of one run work at once. The others wait in a queue, without a thread."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ..errors import SpecError


class Job(Protocol):
    """What waits for a slot, is then called once, or is dropped."""

    def __call__(self) -> object: ...

    def drop(self) -> object: ...


def default_slots(*, cores: int, memory: int) -> int:
    """Two for each core, as far as each has 256 MiB of the machine's memory; one at least.

    >>> default_slots(cores=8, memory=64 << 30), default_slots(cores=8, memory=1 << 30)
    (16, 4)
    """
    return max(1, min(2 * cores, memory // (256 << 20)))


def slots_for(count: int | None) -> Slots:
    """The slots of a run; as many as this machine's default where no count is given."""
    if count is None:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        count = default_slots(cores=os.cpu_count() or 1, memory=memory)
    elif isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise SpecError(f"nested_calls={count!r} is not a number of calls", hint="nested_calls=4")
    return Slots(count)


class Slots:
    """The slots of one run, for all calls below it."""

    def __init__(self, count: int) -> None:
        self.guard = threading.Lock()
        self.free = count
        self.waiting: deque[Lane] = deque()  # each lane once for each of its jobs

    def next_job(self) -> Job | None:
        """A job that waits, for a slot that has become free; else the slot stays free."""
        with self.guard:
            if self.waiting:
                return self.waiting.popleft().jobs.popleft()
            self.free += 1
            return None


class Lane:
    """The calls that one task makes.

    A task that waits for a call does not work, so one call of each task needs no slot: it has the lane. Therefore
    tasks that call each other never wait for each other's slots.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._taken = False
        self.jobs: deque[Job] = deque()

    def add(self, job: Job) -> None:
        """Do `job` in a thread, now or when there is a place for it."""
        with self._slots.guard:
            if not self._taken:
                self._taken, following = True, self._next_job
            elif self._slots.free:
                self._slots.free -= 1
                following = self._slots.next_job
            else:
                self.jobs.append(job)
                self._slots.waiting.append(self)
                return
        threading.Thread(target=_work, args=(job, following), daemon=True, name="nested calls").start()

    def clear(self) -> list[Job]:
        """Take back the jobs that wait."""
        with self._slots.guard:
            left = list(self.jobs)
            self.jobs.clear()
            for _ in left:
                self._slots.waiting.remove(self)
            return left

    def _next_job(self) -> Job | None:
        with self._slots.guard:
            self._taken = bool(self.jobs)
            if not self.jobs:
                return None
            self._slots.waiting.remove(self)
            return self.jobs.popleft()


def _work(job: Job | None, following: Callable[[], Job | None]) -> None:
    while job is not None:
        try:
            job()
        finally:
            job = following()
