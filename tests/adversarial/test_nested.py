"""A hostile task makes nested calls: their rights are those of the definitions, their number and size are bounded."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest

import flyte_images as flyte
from flyte_images.runner.runner import Runner
from tests.integration.runtime.conftest import nothing_stays

from . import nested_tasks as tasks

__all__ = ["nothing_stays"]

pytestmark = pytest.mark.engine


@pytest.fixture(params=["docker", "oci"])
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setenv("DB_PASS", "hunter2")
    return flyte.run.using(on_line=None, engine=request.param, nested_calls=2)


class ResourceWatch:
    """The most threads and bytes of memory that this process has while watched, above the numbers before."""

    def __enter__(self) -> ResourceWatch:
        self._done = threading.Event()
        self._threads, self._memory = threading.active_count(), _resident()
        self.threads = self.memory = 0
        self._watcher = threading.Thread(target=self._look)
        self._watcher.start()
        return self

    def _look(self) -> None:
        while not self._done.wait(0.02):
            self.threads = max(self.threads, threading.active_count() - self._threads)
            self.memory = max(self.memory, _resident() - self._memory)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_no_variable_of_a_container_reaches_another_container(run: Runner) -> None:
    """D3: neither by `override` nor in a forged document; and no argument is on the search path."""
    refused, by_hand, called = run(tasks.steal).result
    assert "a task cannot override `env_vars` of a task that it calls (hint: write it where" in refused
    assert "a task cannot override `env_vars` of a task that it calls" in by_hand
    assert called == {
        "MODE": "defined",
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": None,
        "code": False,
        "path": False,
        "user site": False,
    }


def test_a_task_cannot_raise_a_limit_of_a_task_that_it_calls(run: Runner) -> None:
    """D11: a container may lower limits, and may not set a right."""
    assert run(tasks.lifts).result == [
        "a task cannot raise memory of `low.hold`, which it calls, to 2Gi: its environment says 128Mi",
        "a task cannot raise cpu of `low.hold`, which it calls, to 2: its environment says 1",
        "a task cannot override `nested` of a task that it calls",
        "a task cannot override the GPU of `low.hold`, which it calls",
    ]


@pytest.mark.parametrize(
    ("name", "mebibytes", "count", "together"),
    [("hold", 80, 2, 1), ("free", 200, 1, 0), ("heavy", 180, 1, 1), ("apart", 80, 2, 2)],
)
def test_a_nested_call_counts_against_the_first_tasks_limits(
    run: Runner, name: str, mebibytes: int, count: int, together: int
) -> None:
    """D11: in the same environment, and in one without limits; not in one that states limits or has nested="own"."""
    ends = run(tasks.ends, name, mebibytes, count).result
    assert ends.count(mebibytes) == together
    assert ends.count("OutOfMemory") == count - together


def test_nested_calls_beyond_the_slots_wait(run: Runner) -> None:
    """D11: two slots, and the caller's lane; a waiting call has no thread."""
    with ResourceWatch() as watch:
        assert 1 <= run(tasks.storm, 9).result <= 3
    assert watch.threads < 30


@pytest.mark.adversarial
def test_a_storm_of_calls_is_bounded(run: Runner) -> None:
    """D11: 60 at once."""
    with ResourceWatch() as watch:
        assert 1 <= run(tasks.storm, 60).result <= 3
    assert watch.threads < 30


def test_connections_and_documents_cost_the_caller_little_memory(run: Runner) -> None:
    """D10: 1,500 connections and 8 times 240 MiB, from a task of 128 MiB."""
    with ResourceWatch() as watch:
        found = run(tasks.flood, 1500, 240).result
    assert found["open"] < 200
    assert {message.split(":")[0] for message in found["refused"]} == {"a message of 251658240 bytes is too long"}
    assert watch.threads < 20
    assert watch.memory < 64 << 20


def test_a_document_of_many_values_is_refused_before_it_is_parsed(run: Runner) -> None:
    """D10: a million lists in 3 MiB of JSON."""
    with ResourceWatch() as watch:
        assert "too much memory" in run(tasks.bomb, 1_000_000).result
    assert watch.memory < 64 << 20


def test_files_of_nested_calls_are_removed(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D8: from TMPDIR and from the cache."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    artifacts = artifact_directory()
    before = set(artifacts.glob("*"))
    assert run(tasks.send, 1 << 20).result == 1 << 20
    assert run(tasks.send.override(reusable=True), 1 << 20).result == 1 << 20
    assert list(tmp_path.glob("flyte-images-file-*")) == []
    assert set(artifacts.glob("*")) <= before


def artifact_directory() -> Path:
    """Return the directory of all artifacts."""
    from flyte_images.runner.artifacts import ArtifactDir

    return ArtifactDir.of(os.environ).path.parent
