"""Parallel calls: order, the first failure, and the counts that are shown. The calls are fakes; no engine runs."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest

import flyte_images as flyte
from flyte_images.errors import SpecError
from flyte_images.progress import Progress
from flyte_images.runner.parallel_map import map_calls, show_counts
from flyte_images_runtime.errors import Cancelled

env = flyte.TaskEnvironment(name="counted", limits=flyte.Resources(cpu="1"))


@env.task
def nothing() -> None: ...


class FakeCall:
    """A call with a given outcome: a result, an exception to raise, or "wait" until it is canceled."""

    task: Any = nothing

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.canceled = threading.Event()

    def run(self) -> Any:
        if self.outcome == "wait":
            assert self.canceled.wait(60)
            raise Cancelled("it was cancelled")
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def cancel(self) -> None:
        self.canceled.set()


def run_all(outcomes: list[Any], **options: Any) -> list[Any]:
    return map_calls([FakeCall(outcome) for outcome in outcomes], **options)


def test_runs_are_in_the_order_of_the_calls_at_any_concurrency() -> None:
    for width in (1, 3, 100):
        assert run_all(list(range(20)), concurrency=width) == list(range(20))


def test_the_first_failure_cancels_the_other_calls_and_is_raised() -> None:
    with pytest.raises(ValueError, match="bad"):
        run_all(["wait", ValueError("bad"), "wait"], concurrency=3)
    error = ValueError("bad")
    assert run_all([1, error, 3], concurrency=2, return_exceptions=True) == [1, error, 3]
    with pytest.raises(SpecError, match="concurrency=0"):
        run_all([1], concurrency=0)


def test_the_counts_follow_each_end() -> None:
    counts: list[tuple[int, int, int, int]] = []
    runs = run_all(
        [1, ValueError("x"), 3], concurrency=1, return_exceptions=True, on_counts=lambda *four: counts.append(four)
    )
    assert (runs[0], str(runs[1]), runs[2]) == (1, "x", 3)
    assert counts == [(1, 0, 1, 2), (1, 1, 1, 1), (2, 1, 0, 0)]


def test_calls_that_a_failure_cancels_do_not_count_as_failures() -> None:
    counts: list[tuple[int, int, int, int]] = []
    with pytest.raises(ValueError, match="x"):
        run_all(["wait", ValueError("x"), "wait", 4], concurrency=3, on_counts=lambda *four: counts.append(four))
    assert counts[-1] == (0, 1, 0, 0)


def test_counts_are_shown_where_builds_are_else_on_stderr_and_not_without_both(
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = [FakeCall(number) for number in range(3)]
    stream = io.StringIO()
    for runner in (
        flyte.run,
        flyte.run.using(on_line=None),
        flyte.run.using(on_line=None, progress=Progress("plain", stream)),
    ):
        with show_counts(runner, calls) as on_counts:
            map_calls(calls, on_counts=on_counts)
    assert capsys.readouterr().err.count("counted.nothing: 3 of 3 done in ") == 1
    assert stream.getvalue().startswith("counted.nothing: 3 of 3 done in ")
