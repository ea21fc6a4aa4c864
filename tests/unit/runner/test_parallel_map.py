"""Many calls at once: what is told of them while they go on. The calls are stand-ins; no engine."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest

import flyte_images as flyte
from flyte_images.progress import Progress
from flyte_images.runner.parallel_map import counted, map_calls
from flyte_images_runtime.errors import Cancelled

env = flyte.TaskEnvironment(name="counted", limits=flyte.Resources(cpu="1"))


@env.task
def nothing() -> None: ...


class Standing:
    """A call that ends as it is told to."""

    def __init__(self, outcome: Any) -> None:
        self.task = nothing
        self.outcome = outcome
        self.one_of_many = False
        self.cancelled = threading.Event()

    def run(self) -> Any:
        if self.outcome == "wait":
            assert self.cancelled.wait(60)
            raise Cancelled("it was cancelled")
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def cancel(self) -> None:
        self.cancelled.set()


def test_each_end_is_told() -> None:
    told: list[tuple[int, int, int, int]] = []
    calls: Any = [Standing(1), Standing(ValueError("x")), Standing(3)]
    done = map_calls(calls, concurrency=1, return_exceptions=True, told=lambda *counts: told.append(counts))
    assert (done[0], str(done[1]), done[2]) == (1, "x", 3)
    assert told == [(1, 0, 1, 2), (1, 1, 1, 1), (2, 1, 0, 0)]


def test_those_that_a_failure_ends_have_not_failed() -> None:
    told: list[tuple[int, int, int, int]] = []
    calls: Any = [Standing("wait"), Standing(ValueError("x")), Standing("wait"), Standing(4)]
    with pytest.raises(ValueError, match="x"):
        map_calls(calls, concurrency=3, told=lambda *counts: told.append(counts))
    assert told[-1] == (0, 1, 0, 0)


def test_it_is_shown_where_builds_are_or_on_stderr_or_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    calls: Any = [Standing(number) for number in range(3)]
    stream = io.StringIO()
    for runner in (
        flyte.run,
        flyte.run.using(on_line=None),
        flyte.run.using(on_line=None, progress=Progress("plain", stream)),
    ):
        with counted(runner, calls) as told:
            map_calls(calls, told=told)
    assert capsys.readouterr().err.count("counted.nothing: 3 of 3 done in ") == 1
    assert stream.getvalue().startswith("counted.nothing: 3 of 3 done in ")
