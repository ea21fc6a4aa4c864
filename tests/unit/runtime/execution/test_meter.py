"""A meter measures a running task, reports its end, and costs nothing without a listener."""

from __future__ import annotations

import queue
import threading

from flyte_images_runtime.execution.meter import Meter
from flyte_images_runtime.resources.metrics import Metrics, Usage


def test_it_reports_the_usage_and_then_the_end() -> None:
    told: queue.Queue[Usage | None] = queue.Queue()
    meter = Meter(lambda: Usage(cpu=1.5, memory=4096), tell=told.put)
    first = told.get(timeout=30)
    assert first is not None
    assert (first.cpu, first.memory) == (1.5, 4096)
    meter.stop()
    meter.stop()
    last = first
    while not told.empty():
        last = told.get()  # type: ignore[assignment]
    assert last is None
    assert meter.added_to(Metrics(total=1.0)) == Metrics(total=1.0)


def test_an_ended_task_without_usage_is_not_reported() -> None:
    told: list[Usage | None] = []
    meter = Meter(Usage, tell=told.append)
    meter._look(lambda: (None, None))
    meter.stop()
    assert told == [None]


def test_without_a_card_and_a_listener_no_thread_runs() -> None:
    before = threading.active_count()
    meter = Meter(Usage)
    assert threading.active_count() == before
    meter.stop()


def test_the_peak_memory_and_the_mean_load_of_cards_are_kept() -> None:
    looks: list[tuple[int | None, float | None]] = [(100, 0.5), (300, 1.0), (200, None), (None, None)]
    meter = Meter(Usage)
    for found in looks:
        meter._look(lambda found=found: found)  # type: ignore[misc]
    measured = meter.added_to(Metrics(total=1.0))
    assert measured.gpu_peak_memory == 300
    assert measured.gpu_utilisation == 0.75
