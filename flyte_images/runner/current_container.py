"""The container in which a call runs now, if there is one: canceled from another thread, and measured."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flyte_images_runtime.execution.meter import Meter

from ..errors import Cancelled

if TYPE_CHECKING:
    from flyte_images_runtime.execution.execute import Finished
    from flyte_images_runtime.gpu import Card
    from flyte_images_runtime.resources.metrics import Usage
    from flyte_images_runtime.task.engine import Running


class CurrentContainer:
    """Between two attempts, and before the first, a call has no container. `on_usage` gets the usage twice a second."""

    def __init__(self, task: str, on_usage: Callable[[Usage | None], None] | None) -> None:
        self._task = task
        self._on_usage = on_usage
        self._canceled = threading.Event()
        self._running: Running | None = None
        self._meter: Meter | None = None
        self._guard = threading.Lock()

    def cancel(self) -> None:
        """Cancel the container, or the next one as soon as it starts."""
        with self._guard:
            self._canceled.set()
            if self._running is not None:
                self._running.cancel()

    def check_not_canceled(self) -> None:
        """Raise Cancelled if `cancel` was called."""
        if self._canceled.is_set():
            raise Cancelled(f"task `{self._task}` was cancelled", task=self._task)

    def pause(self, seconds: float) -> None:
        """Wait before another attempt. Raise Cancelled if `cancel` is called meanwhile."""
        self._canceled.wait(seconds)
        self.check_not_canceled()

    def begin(self, running: Running, *, cards: Sequence[Card] = (), usage: Callable[[], Usage] | None = None) -> None:
        """Begin to measure a container that has started. `usage` replaces the container's own usage."""
        with self._guard:
            self._running = running
            if self._canceled.is_set():
                running.cancel()
        self._stop_meter()
        if cards or self._on_usage is not None:
            self._meter = Meter(usage or running.usage, cards=cards, tell=self._on_usage)

    def end(self) -> None:
        """Forget the container, which has ended or serves another call next. Its measurements stay."""
        with self._guard:
            self._running = None
        self._stop_meter()

    def add_metrics(self, finished: Finished) -> Finished:
        """Return `finished` with the measurements of its GPUs."""
        if self._meter is None:
            return finished
        self._meter.stop()
        metrics = self._meter.added_to(finished.metrics)
        return finished if metrics is finished.metrics else replace(finished, metrics=metrics)

    def _stop_meter(self) -> None:
        if self._meter is not None:
            self._meter.stop()
