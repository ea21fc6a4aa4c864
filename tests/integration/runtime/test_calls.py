"""A call of a task returns the function's result; the function runs in the image, under the limits."""

from __future__ import annotations

import asyncio
import datetime
import os
import pathlib
import threading

import pytest

import flyte_images as flyte
from flyte_images.runner import history
from flyte_images.store.cache_dir import cache_dir
from flyte_images_runtime.errors import InvalidArgument, NotSerializable
from flyte_images_runtime.system.process_id import current

from ...fakes.clock import eventually
from . import nested_tasks, tasks
from .conftest import NOTHING, left

pytestmark = pytest.mark.engine
quiet = flyte.run.using(on_line=None)


def test_typed_arguments_and_results_are_equal_on_both_sides() -> None:
    rows = [
        tasks.Row(
            "a",
            datetime.datetime(2020, 1, 1),
            tasks.Colour.RED,
            tasks.Row("b", datetime.datetime.max, tasks.Colour.RED),
        )
    ]
    done = quiet(tasks.mirror, 10**30, "ü", rows=rows, path=pathlib.Path("/a"), blob=b"\0" * 200_000, either="x")
    assert done.result == (10**30, "ü", rows, pathlib.Path("/a"), b"\0" * 200_000, "x")
    assert type(done.result[2][0]) is tasks.Row


def test_defaults_and_none() -> None:
    done = quiet(tasks.mirror, 1, rows=[], path=pathlib.Path("b"), blob=b"", either=None)
    assert done.result == (1, "a", [], pathlib.Path("b"), b"", None)


def test_an_argument_that_does_not_fit_starts_nothing() -> None:
    with pytest.raises(InvalidArgument, match=r"parameter `rows` at `rows\[0\]`: expected Row, got int 3"):
        quiet(tasks.mirror, 1, rows=[3], path=pathlib.Path("b"), blob=b"", either=None)  # type: ignore[list-item]
    with pytest.raises(TypeError, match="missing a required argument: 'seconds'"):
        quiet(tasks.slow)


def test_a_result_of_another_type_than_the_annotation_is_refused() -> None:
    with pytest.raises(NotSerializable, match="result: expected int, got str 'text'"):
        quiet(tasks.end, "result")
    with pytest.raises(NotSerializable, match=r"result at `result\['lock'\]\[0\]`: lock"):
        quiet(tasks.unserialisable)


def test_a_plain_call_runs_in_this_process_and_run_in_a_container() -> None:
    assert tasks.read_environment(["HOSTNAME_OF_TEST"]) == {"HOSTNAME_OF_TEST": None}
    os.environ["ONLY_HERE"] = "1"
    try:
        assert tasks.read_environment(["ONLY_HERE"]) == {"ONLY_HERE": "1"}
        assert quiet(tasks.read_environment, ["ONLY_HERE"]).result == {"ONLY_HERE": None}
    finally:
        del os.environ["ONLY_HERE"]


def test_async_tasks_run_side_by_side_from_an_event_loop(tmp_path: pathlib.Path) -> None:
    """Each task ends when the others have begun, so one after the other would never end."""
    tmp_path.chmod(0o777)
    meet = tasks.meet.override(mounts=[f"{tmp_path}:/meeting:rw"], timeout=300)
    names = ["a", "b", "c"]

    async def several() -> list[str]:
        runs = await asyncio.gather(*(quiet.aio(meet, name, names) for name in names))
        return [run.result for run in runs]

    assert asyncio.run(several()) == names


def test_cancelling_ends_the_container() -> None:
    begun = threading.Event()
    run = quiet.using(on_line=lambda *line: begun.set())

    async def cancelled() -> None:
        running = asyncio.ensure_future(run.aio(tasks.talk_and_sleep))
        assert await asyncio.to_thread(begun.wait, 120)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    eventually(lambda: left(str(current())) == NOTHING)


def test_map_keeps_the_order_and_its_first_failure_cancels_the_other_calls() -> None:
    runs = quiet.map(tasks.slow, [0.5, 0.1, 0.0], [1, 2, 3], concurrency=3)
    assert [run.result for run in runs] == [1, 2, 3]
    with pytest.raises(ValueError, match="no rows"):
        quiet.map(tasks.fail, ["value", "value"], concurrency=2)
    outcomes = quiet.map(tasks.fail, ["value", "own"], return_exceptions=True)
    assert [type(each).__name__ for each in outcomes] == ["ValueError", "Raised"]
    assert quiet.map(tasks.slow, []) == []
    assert flyte.map(tasks.slow, [0.0, 0.0], [1, 2]) == [1, 2]


def test_each_printed_line_arrives_in_its_stream() -> None:
    lines: list[tuple[str, str, str]] = []
    done = flyte.run.using(on_line=lambda *line: lines.append(line))(tasks.chatter, 2000)
    assert [text for _, stream, text in lines if stream == "stderr"] == [f"err {n}" for n in range(2000)]
    assert [text for _, stream, text in lines if stream == "stdout"][:-1] == [f"out {n}" for n in range(2000)]
    assert lines[-1] == ("tests.chatter", "stdout", "unfinished")
    assert done.logs.stderr.splitlines()[-1] == "err 1999"


def test_environment_variables_and_secrets(monkeypatch: pytest.MonkeyPatch, engine: object) -> None:
    monkeypatch.setenv("HF_TOKEN", "sesame")
    task = tasks.read_environment.override(
        env_vars={"MODE": "a=b c"}, secrets=["hf-token", flyte.Secret("hf-token", mount="/run/secrets/token")]
    )
    run = quiet(task, ["MODE", "HF_TOKEN", "OMP_NUM_THREADS", "HOME", "USER"])
    assert run.result == {
        "MODE": "a=b c",
        "HF_TOKEN": "sesame",
        "OMP_NUM_THREADS": "1",
        "HOME": "/tmp/home",
        "USER": "task",
    }
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(flyte.errors.SpecError, match="no value for the secret `hf-token`"):
        quiet(task, [])


def test_files_cross_both_ways(tmp_path: pathlib.Path) -> None:
    (tmp_path / "data.csv").write_text("a,b")
    assert quiet(tasks.read_file, flyte.File(tmp_path / "data.csv")).result == ("data.csv", "a,b")
    returned = quiet(tasks.write_file, "hello").result
    assert returned.name == "made.txt"
    assert returned.read_text() == "hello"


def test_a_returned_file_is_below_the_cache_until_it_is_saved(tmp_path: pathlib.Path) -> None:
    first, second = (quiet(tasks.write_file, text).result for text in ("one", "two"))
    artifacts = cache_dir(os.environ) / "files"
    assert pathlib.Path(first.path).is_relative_to(artifacts)
    assert (first.read_text(), second.read_text()) == ("one", "two")
    assert first.save(tmp_path / "kept.txt").read_text() == "one"
    before = set(artifacts.glob(f"{current()}-*"))
    assert quiet(nested_tasks.length_of_a_file, "three").result == 5
    assert set(artifacts.glob(f"{current()}-*")) == before  # a file between two tasks does not stay


def test_metrics_are_those_of_the_task() -> None:
    done = quiet(tasks.burn.override(limits=flyte.Resources(cpu="0.1", memory="256Mi")), 2.0, 2)
    metrics = done.metrics
    assert metrics.wall is not None
    assert metrics.wall >= 2.0
    assert metrics.start is not None
    assert metrics.total >= metrics.start + metrics.wall
    assert metrics.cpu is not None
    assert 0.1 < metrics.cpu < metrics.total
    assert metrics.throttled
    assert metrics.throttled_periods
    assert metrics.peak_memory is not None
    assert 4 << 20 < metrics.peak_memory < 256 << 20


def test_retries_are_announced_and_the_last_failure_is_raised() -> None:
    lines: list[str] = []
    noisy = flyte.run.using(on_line=lambda task, stream, line: lines.append(line))
    with pytest.raises(ValueError, match="no rows"):
        noisy(tasks.fail.override(retries=flyte.RetryStrategy(count=2, backoff=0.01)), "value")
    assert [line for line in lines if "failed" in line] == [
        "attempt 1 of 3 failed: task `tests.fail` raised ValueError: no rows",
        "attempt 2 of 3 failed: task `tests.fail` raised ValueError: no rows",
    ]


def test_the_same_call_is_not_run_again_with_a_result_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    quiet.image(tasks.env.built_image)
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(tmp_path))
    cached = tasks.noisy_blob.override(cache="auto")
    first = quiet(cached, b"a", 100_000)
    second = quiet(cached, b"a", 100_000)
    assert (first.cached, second.cached) == (False, True)
    assert second.result == first.result  # the result is random, so only a cached one can be equal
    assert second.attempts == 0
    warm = quiet(cached.override(reusable=True, limits=flyte.Resources(memory="128Mi"), timeout=60), b"a", 100_000)
    assert warm.cached
    for other in (
        quiet(cached, b"b", 100_000),
        quiet(cached, b"a", 100_001),
        quiet(cached.override(env_vars={"A": "1"}), b"a", 100_000),
        quiet(cached.override(cache="disable"), b"a", 100_000),
    ):
        assert not other.cached
        assert other.result != first.result
    with pytest.raises(ValueError, match="no rows"):
        quiet(tasks.fail.override(cache="auto"), "value")
    with pytest.raises(ValueError, match="no rows"):  # failures are not cached
        quiet(tasks.fail.override(cache="auto"), "value")
    ends = [(line["task"], line["end"], line["cached"]) for line in history.recent(os.environ, 100)]
    assert ends[:3] == [("tests.noisy_blob", "done", False), *[("tests.noisy_blob", "done", True)] * 2]
    assert ends[-1] == ("tests.fail", "Raised", False)


@pytest.mark.parametrize("name", ["docker", "oci"])
def test_a_large_result_crosses_in_memory_where_it_fits_and_else_on_disk(name: str) -> None:
    run = flyte.run.using(on_line=None, engine=name)
    size = 40 << 20
    assert run(tasks.where_it_is, size, "256Mi").result == ["fast"]
    tight = tasks.where_it_is.override(limits=flyte.Resources(memory="80Mi"))
    assert run(tight, size, "80Mi").result == ["out"]
    for task in (tasks.long_blob, tasks.long_blob.override(limits=flyte.Resources(memory="80Mi"))):
        assert run(task, size).result == b"x" * size
