"""How many nested calls of one run work at once. The other calls wait in a queue, without a thread."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from flyte_images_runtime.values.budget import machine_memory

from ..errors import SpecError


class Job(Protocol):
    """A job waits for a slot, and is then called once. A job that no longer needs a slot is dropped instead."""

    def __call__(self) -> object: ...

    def drop(self) -> object: ...


def default_slots(*, cores: int, memory: int) -> int:
    """Return two slots for each core, but not more than one for each 256 MiB of memory, and at least one.

    >>> default_slots(cores=8, memory=64 << 30), default_slots(cores=8, memory=1 << 30)
    (16, 4)
    """
    return max(1, min(2 * cores, memory // (256 << 20)))


def machine_slots() -> int:
    """Return the default number of slots on this machine."""
    return default_slots(cores=os.cpu_count() or 1, memory=machine_memory())


def check_count(count: int) -> int:
    """Return the number of slots that a user gave. Raise SpecError if it is not a number of calls."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise SpecError(f"nested_calls={count!r} is not a number of calls", hint="nested_calls=4")
    return count


class Slots:
    """The slots of one run, which all nested calls below it share."""

    def __init__(self, count: int) -> None:
        self.guard = threading.Lock()
        self.free = count
        self.waiting: deque[Lane] = deque()  # each lane once for each of its jobs

    def next_job(self) -> Job | None:
        """Return the job that waits longest, for a slot that has become free. Without one, the slot stays free."""
        with self.guard:
            if self.waiting:
                return self.waiting.popleft().jobs.popleft()
            self.free += 1
            return None


class Lane:
    """The nested calls of one task.

    A task that waits for a nested call does not work itself. Therefore one nested call of each task needs no slot: it
    uses the lane. So tasks that call each other never wait for each other's slots.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._taken = False
        self.jobs: deque[Job] = deque()

    def add(self, job: Job) -> None:
        """Run `job` in a thread, as soon as the lane or a slot is free."""
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
        """Remove the waiting jobs and return them."""
        with self._slots.guard:
            removed = list(self.jobs)
            self.jobs.clear()
            for _ in removed:
                self._slots.waiting.remove(self)
            return removed

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
