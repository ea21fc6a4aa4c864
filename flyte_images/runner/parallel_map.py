"""Many calls in parallel, as many as this machine holds. The first failure cancels the other calls."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.values.budget import machine_memory

from ..errors import Cancelled, SpecError

if TYPE_CHECKING:
    from .model import CallLike, RunnerOptions

OnCounts = Callable[[int, int, int, int], None]
"""Called with the numbers of calls that are done, have failed, run, and wait; never from two threads at once."""


@contextlib.contextmanager
def show_counts(options: RunnerOptions, calls: Sequence[CallLike]) -> Iterator[OnCounts | None]:
    """Yield the function that shows the progress of the calls; None for a Runner that shows nothing."""
    if not calls or (options.on_line is None and options.progress is None):
        yield None
        return
    from ..progress.map_progress import MapProgress
    from ..progress.status_line import open_status_line

    progress = options.progress
    counting = MapProgress(
        calls[0].task.name,
        len(calls),
        "auto" if progress is None else progress.mode,
        sys.stderr if progress is None else progress.stream,
        env=options.environ,
    )
    with open_status_line(counting.below):
        yield counting.update


def map_calls(
    calls: Sequence[CallLike],
    *,
    concurrency: int | None = None,
    return_exceptions: bool = False,
    on_counts: OnCounts | None = None,
) -> list[Any]:
    """Run the calls and return their Runs in the order of `calls`.

    Raise the first failure; with `return_exceptions` put each failure in the place of its Run instead. Raise SpecError
    if `concurrency` is not a positive number.
    """
    if not calls:
        return []
    if concurrency is not None and (isinstance(concurrency, bool) or concurrency < 1):
        raise SpecError(f"concurrency={concurrency!r} is not a number of tasks", hint="concurrency=4")
    limits = calls[0].task.options.limits()
    width = concurrency or default_concurrency(limits, cores=os.cpu_count() or 1, memory=machine_memory())
    width = min(width, len(calls))
    worker = _MapWorker(calls, width, stop_at_failure=not return_exceptions, on_counts=on_counts)
    threads = [threading.Thread(target=worker.loop, daemon=True) for _ in range(width)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:  # Ctrl-C
        worker.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        raise
    if worker.failure is not None:
        raise worker.failure
    return worker.outcomes


def default_concurrency(limits: Limits, *, cores: int, memory: int) -> int:
    """Return how many tasks with these limits a machine holds at once, at least one.

    >>> from decimal import Decimal
    >>> default_concurrency(Limits(cpu=Decimal("1"), memory=4 << 30), cores=8, memory=16 << 30)
    4
    >>> default_concurrency(Limits(), cores=8, memory=16 << 30)
    8
    """
    by_cpu = int(cores / limits.cpu) if limits.cpu else cores
    by_memory = memory // limits.memory if limits.memory else by_cpu
    return max(1, min(by_cpu, by_memory))


class _MapWorker:
    """The calls that wait, and the outcomes of the others. Each thread runs `loop`."""

    def __init__(
        self, calls: Sequence[CallLike], width: int, *, stop_at_failure: bool, on_counts: OnCounts | None
    ) -> None:
        self._calls = calls
        self._width = width
        self._stop_at_failure = stop_at_failure
        self._next = 0
        self._stopped = False
        self._on_counts = on_counts
        self._done = self._failures = 0
        self._guard = threading.Lock()
        self._active: set[int] = set()
        self.outcomes: list[Any] = [None] * len(calls)
        self.failure: BaseException | None = None

    def loop(self) -> None:
        """Run one call after another until no call waits."""
        while (index := self._take()) is not None:
            error: BaseException | None = None
            try:
                self.outcomes[index] = self._calls[index].run()
            except BaseException as raised:
                error = self.outcomes[index] = raised
                self._failed(error)
            finally:
                self._ended(index, error)

    def _ended(self, index: int, error: BaseException | None) -> None:
        with self._guard:
            self._active.discard(index)
            if error is None:
                self._done += 1
            elif not (self._stopped and isinstance(error, Cancelled)):  # else another call's failure canceled it
                self._failures += 1
            if self._on_counts is not None:
                waiting = 0 if self._stopped else len(self._calls) - self._next
                running = min(self._width, len(self._active) + waiting)  # with the call that this thread runs next
                self._on_counts(self._done, self._failures, running, waiting)

    def _take(self) -> int | None:
        with self._guard:
            if self._stopped or self._next >= len(self._calls):
                return None
            index, self._next = self._next, self._next + 1
            self._active.add(index)
            return index

    def _failed(self, error: BaseException) -> None:
        if self._stop_at_failure:
            with self._guard:
                if self.failure is None:
                    self.failure = error
            self.stop()

    def stop(self) -> None:
        """Cancel the calls that run, and begin no other one."""
        with self._guard:
            self._stopped = True
            active = [self._calls[index] for index in self._active]
        for call in active:
            call.cancel()
