"""The history has a line for each run, in order, and stays small. The result cache stores complete results only."""

from __future__ import annotations

import fcntl
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flyte_images.runner import history
from flyte_images.runner.history import recent, record
from flyte_images.runner.result_cache import ResultCache, cache_key
from flyte_images_runtime.resources.metrics import Metrics
from flyte_images_runtime.system import atomic
from flyte_images_runtime.task.spec import Code, TaskSpec
from flyte_images_runtime.values import File, Files, codec


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache")}


def test_runs_are_read_in_order_the_newest_last(environ: dict[str, str]) -> None:
    assert recent(environ) == []
    record(environ, task="a.b", image="x:1", end="done", metrics=Metrics(total=1.5, peak_memory=10))
    record(environ, task="a.c", image="x:1", end="Raised", message="y" * 1000)
    first, second = recent(environ)
    assert (first["task"], first["end"], first["metrics"]["total"]) == ("a.b", "done", 1.5)
    assert (second["task"], second["end"], len(second["message"])) == ("a.c", "Raised", 500)
    assert recent(environ, 1) == [second]
    assert history.history_path(environ).stat().st_mode & 0o077 == 0


def test_the_older_half_is_removed_and_a_broken_line_is_skipped(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_LARGEST", 5000)
    for number in range(100):
        record(environ, task=f"a.t{number}", image="x:1", end="done")
    with history.history_path(environ).open("a") as file:
        file.write("rubbish\n")
    tasks = [run["task"] for run in recent(environ, 1000)]
    assert 10 < len(tasks) < 100
    assert tasks == [f"a.t{number}" for number in range(100 - len(tasks), 100)]


def test_no_process_appends_while_the_older_half_is_removed(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that another process appends between the reading and the replacement of the file would be lost."""
    locked = []

    def write(path: Path, data: bytes) -> None:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                locked.append(path)
        atomic.write(path, data)

    monkeypatch.setattr(history, "_LARGEST", 1000)
    monkeypatch.setattr(history, "write", write)
    for _ in range(10):
        record(environ, task="a.b", image="x:1", end="done")
    assert locked
    assert set(locked) == {history.history_path(environ)}


def test_a_line_goes_into_the_file_that_replaced_the_open_one(environ: dict[str, str]) -> None:
    """A writer that waited for the removal of the older half has the old file open."""
    record(environ, task="a.old", image="x:1", end="done")
    path = history.history_path(environ)
    with path.open("rb") as old:
        fcntl.flock(old, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as pool:
            recorded = pool.submit(record, environ, task="a.new", image="x:1", end="done")
            atomic.write(path, b"")
            fcntl.flock(old, fcntl.LOCK_UN)
            recorded.result()
    assert [run["task"] for run in recent(environ)] == ["a.new"]


def test_a_history_that_cannot_be_written_is_no_error() -> None:
    record({"FLYTE_IMAGES_CACHE": "/proc/nowhere"}, task="a.b", image="x", end="done")
    record({}, task="a.b", image="x", end="done")


def spec(**changes: object) -> TaskSpec:
    code = Code(module="m", qualname="f", copies=("/cache/code/abc",))
    return TaskSpec(task="a.b", image="x:1", code=code, **changes)  # type: ignore[arg-type]


def test_the_key_covers_everything_that_decides_a_result_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "1.bin").write_bytes(b"x")
    base = cache_key(spec(), "sha256:1", {"a": {"file": "1.bin"}}, tmp_path)
    same = [
        cache_key(spec(timeout=5.0), "sha256:1", {"a": {"file": "1.bin"}}, tmp_path),
        cache_key(spec(network="none"), "sha256:1", {"a": {"file": "1.bin"}}, tmp_path),
    ]
    others = [
        cache_key(spec(), "sha256:2", {"a": {"file": "1.bin"}}, tmp_path),
        cache_key(spec(), "sha256:1", {"b": {"file": "1.bin"}}, tmp_path),
        cache_key(spec(env=(("A", "1"),)), "sha256:1", {"a": {"file": "1.bin"}}, tmp_path),
        cache_key(spec(workdir="/x"), "sha256:1", {"a": {"file": "1.bin"}}, tmp_path),
    ]
    (tmp_path / "1.bin").write_bytes(b"y")
    others.append(cache_key(spec(), "sha256:1", {"a": {"file": "1.bin"}}, tmp_path))
    assert set(same) == {base}
    assert len({base, *others}) == len(others) + 1


def test_a_stored_result_is_found_with_its_files(tmp_path: Path) -> None:
    outputs, memory = tmp_path / "out", tmp_path / "fast"
    outputs.mkdir()
    memory.mkdir()
    value = {"small": b"a", "disk": b"b" * 100_000, "memory": b"c" * (2 << 20)}
    kind = codec(dict[str, bytes])
    with Files(str(outputs), str(memory), room=lambda: 1 << 30) as files:
        form = json.loads(json.dumps(kind.encode(value, files)))
    assert [path.suffix for path in (*outputs.iterdir(), *memory.iterdir())] == [".bin", ".bin"]
    results = ResultCache(tmp_path / "results")
    with Files(str(outputs), str(memory)) as files:
        kind.decode(form, files)
        results.store("key", form, files)
    entry = results.find("key")
    assert entry is not None
    with entry[1] as files:
        assert kind.decode(entry[0], files) == value
    assert results.find("other") is None


def test_files_that_are_not_part_of_the_result_are_not_stored(tmp_path: Path) -> None:
    """D10: a text that is the name of a file stores nothing, and holes in a stored file stay holes."""
    outputs = tmp_path / "out"
    outputs.mkdir()
    for name, size in (("1.bin", 1 << 40), ("2.file", 1 << 26)):
        with (outputs / name).open("wb") as file:
            file.truncate(size)
    form = {"a": {"file": "2.file", "name": "1.bin"}}
    results = ResultCache(tmp_path / "results")
    with Files(str(outputs), arrivals=str(tmp_path / "in")) as files:
        codec(dict[str, File]).decode(form, files)
        results.store("key", form, files)
    stored = {path.name: path.stat() for path in (tmp_path / "results" / "key").iterdir()}
    assert set(stored) == {"2.file", "result.json"}
    assert (stored["2.file"].st_size, stored["2.file"].st_blocks) == (1 << 26, 0)
