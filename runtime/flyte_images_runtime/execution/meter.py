"""Meter: measures a task while it runs, to report its usage so far, and the work of its GPUs.

A short call without a GPU costs nothing: a thread runs only if a caller wants reports, or the task has a GPU.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from ..resources.metrics import Metrics, Usage

if TYPE_CHECKING:
    from ..gpu import Card

EVERY = 0.5  # seconds between two measurements
_FIRST = 0.1  # seconds before the first measurement

Tell = Callable[["Usage | None"], None]
"""Gets the task's usage so far, twice a second, and None at its end."""


class Meter:
    """Measures from its creation until `stop`. `usage` returns the figures that only the task's engine has."""

    def __init__(self, usage: Callable[[], Usage], *, cards: Sequence[Card] = (), tell: Tell | None = None) -> None:
        self._usage = usage
        self._cards = cards
        self._tell = tell
        self._over = threading.Event()
        self._peak: int | None = None
        self._shares: list[float] = []
        self._thread: threading.Thread | None = None
        if cards or tell is not None:
            self._thread = threading.Thread(target=self._watch, daemon=True, name="meter")
            self._thread.start()

    def stop(self) -> None:
        """Stop measuring, because the task has ended. A second call does nothing."""
        self._over.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def added_to(self, metrics: Metrics) -> Metrics:
        """Return the metrics with the figures of the GPUs."""
        if self._peak is None and not self._shares:
            return metrics
        mean = sum(self._shares) / len(self._shares) if self._shares else None
        return replace(metrics, gpu_peak_memory=self._peak, gpu_utilisation=mean)

    def _watch(self) -> None:
        with ExitStack() as stack:
            look = _nothing
            if self._cards:
                from ..gpu.utilization import watching

                look = stack.enter_context(watching(self._cards))
            pause = _FIRST
            while not self._over.wait(pause):
                pause = EVERY
                self._look(look)
            if self._tell is not None:
                self._tell(None)

    def _look(self, look: Callable[[], tuple[int | None, float | None]]) -> None:
        memory, share = look()
        if memory is not None:
            self._peak = max(memory, self._peak or 0)
        if share is not None:
            self._shares.append(share)
        if self._tell is not None and (usage := self._usage()) != Usage():  # no usage: the task has just ended
            self._tell(replace(usage, gpu_memory=memory, gpu_utilisation=share))


def _nothing() -> tuple[int | None, float | None]:
    return None, None
