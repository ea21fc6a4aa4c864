"""Many calls at once, as many as the machine holds. The first failure ends the rest."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.resources.limits import Limits

from ..errors import Cancelled, SpecError

if TYPE_CHECKING:
    from .call import Call
    from .runner import Runner

Told = Callable[[int, int, int, int], None]
"""Is given how many calls have ended well, how many badly, run, and wait; never by two threads at once."""


@contextlib.contextmanager
def counted(runner: Runner, calls: Sequence[Call]) -> Iterator[Told | None]:
    """What shows how far the calls are, where the runner shows anything."""
    if not calls or (runner.on_line is None and runner.progress is None):
        yield None
        return
    from ..progress.map_progress import Counting
    from ..progress.status_line import open_below

    shown = runner.progress
    counting = Counting(
        calls[0].task.name,
        len(calls),
        "auto" if shown is None else shown.mode,
        sys.stderr if shown is None else shown.stream,
    )
    with open_below(counting.below):
        yield counting.told


def map_calls(
    calls: Sequence[Call],
    *,
    concurrency: int | None = None,
    return_exceptions: bool = False,
    told: Told | None = None,
) -> list[Any]:
    """Return the runs in the order of `calls`; raise the first failure, or put each in its place."""
    if not calls:
        return []
    if concurrency is not None and (isinstance(concurrency, bool) or concurrency < 1):
        raise SpecError(f"concurrency={concurrency!r} is no number of tasks", hint="concurrency=4")
    for call in calls:
        call.one_of_many = True
    width = concurrency or fitting(calls[0].task.options.limits(), cores=os.cpu_count() or 1, memory=_memory())
    width = min(width, len(calls))
    work = _Work(calls, width, stop_at_failure=not return_exceptions, told=told)
    threads = [threading.Thread(target=work.loop, daemon=True) for _ in range(width)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:  # Ctrl-C
        work.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        raise
    if work.failure is not None:
        raise work.failure
    return work.outcomes


def fitting(limits: Limits, *, cores: int, memory: int) -> int:
    """How many tasks with these limits this machine holds at once; one at least.

    >>> from decimal import Decimal
    >>> fitting(Limits(cpu=Decimal("1"), memory=4 << 30), cores=8, memory=16 << 30)
    4
    >>> fitting(Limits(), cores=8, memory=16 << 30)
    8
    """
    by_cpu = int(cores / limits.cpu) if limits.cpu else cores
    by_memory = memory // limits.memory if limits.memory else by_cpu
    return max(1, min(by_cpu, by_memory))


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class _Work:
    """The calls that are left, and what came of the others."""

    def __init__(self, calls: Sequence[Call], width: int, *, stop_at_failure: bool, told: Told | None = None) -> None:
        self._calls = calls
        self._width = width
        self._stop_at_failure = stop_at_failure
        self._next = 0
        self._stopped = False
        self._told = told
        self._done = self._badly = 0
        self._guard = threading.Lock()
        self._active: set[int] = set()
        self.outcomes: list[Any] = [None] * len(calls)
        self.failure: BaseException | None = None

    def loop(self) -> None:
        """Do one call after the other until there is none."""
        while (at := self._take()) is not None:
            error: BaseException | None = None
            try:
                self.outcomes[at] = self._calls[at].run()
            except BaseException as raised:
                error = self.outcomes[at] = raised
                self._failed(error)
            finally:
                self._ended(at, error)

    def _ended(self, at: int, error: BaseException | None) -> None:
        with self._guard:
            self._active.discard(at)
            if error is None:
                self._done += 1
            elif not (self._stopped and isinstance(error, Cancelled)):  # else it is another one's failure
                self._badly += 1
            if self._told is not None:
                waiting = 0 if self._stopped else len(self._calls) - self._next
                running = min(self._width, len(self._active) + waiting)  # with the one that this thread begins next
                self._told(self._done, self._badly, running, waiting)

    def _take(self) -> int | None:
        with self._guard:
            if self._stopped or self._next >= len(self._calls):
                return None
            at, self._next = self._next, self._next + 1
            self._active.add(at)
            return at

    def _failed(self, error: BaseException) -> None:
        if self._stop_at_failure:
            with self._guard:
                if self.failure is None:
                    self.failure = error
            self.stop()

    def stop(self) -> None:
        """End what runs, begin nothing more."""
        with self._guard:
            self._stopped = True
            active = [self._calls[at] for at in self._active]
        for call in active:
            call.cancel()
