"""D14: sweeps for leftovers start at the right times and remove only things without a living owner."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flyte_images import leftovers
from flyte_images_runtime.engines import reaper
from flyte_images_runtime.system.process_id import ProcessId, booted, current


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []
    monkeypatch.setattr(leftovers, "_start", lambda environ: made.append(environ["FLYTE_IMAGES_CACHE"]))
    return made


def test_a_sweep_is_due_first_every_ten_minutes_and_after_each_boot(tmp_path: Path, starts: list[str]) -> None:
    """D14"""
    environ = {"FLYTE_IMAGES_CACHE": str(tmp_path)}
    last = tmp_path / "swept" / "last"
    leftovers.sweep_at_times(environ)
    leftovers.sweep_at_times(environ)
    assert len(starts) == 1
    for due in (time.time() - 700, booted() - 1, time.time() + 3600):
        os.utime(last, (due, due))
        leftovers.sweep_at_times(environ)
        leftovers.sweep_at_times(environ)
    assert len(starts) == 4
    last.unlink()  # as the keeper of a process does after its engine went away
    leftovers.sweep_at_times(environ)
    assert len(starts) == 5


def test_an_engine_that_does_not_answer_is_asked_again_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D14: the engine may still be down at the next start."""
    for name in ("DOCKER_HOST", "FLYTE_IMAGES_CACHE"):
        monkeypatch.setenv(name, {"DOCKER_HOST": f"unix://{tmp_path}/none"}.get(name, str(tmp_path)))
    (tmp_path / "swept").mkdir()
    last = tmp_path / "swept" / "last"
    last.touch()
    monkeypatch.setattr(os, "nice", lambda by: by)
    leftovers.main()
    assert 500 < time.time() - last.stat().st_mtime < 600


def test_a_cache_that_cannot_be_written_is_not_an_error(tmp_path: Path, starts: list[str]) -> None:
    leftovers.sweep_at_times({})
    (tmp_path / "swept").write_text("in the way")
    leftovers.sweep_at_times({"FLYTE_IMAGES_CACHE": str(tmp_path)}, "unix:///somewhere")
    assert starts == []


def test_a_leftover_older_than_this_boot_is_removed() -> None:
    """D14: after a crash of the machine. A younger one may belong to another machine that shares the engine."""
    earlier = ProcessId("00000000", current().space, os.getpid(), "1")
    assert earlier.is_gone(booted() - 3600)
    assert not earlier.is_gone(booted() + 3600)
    assert not earlier.is_gone()


def test_a_leftover_of_an_empty_pid_namespace_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """D14: a caller in a removed container, as root of the machine sees it."""
    from flyte_images_runtime.system import process_id

    inside = ProcessId(current().boot, "4026532999", 17, "3")
    monkeypatch.setattr(process_id, "_spaces", lambda: {current().space, "4026532999"})
    assert not inside.is_gone()
    monkeypatch.setattr(process_id, "_spaces", lambda: {current().space})
    assert inside.is_gone()
    monkeypatch.setattr(process_id, "_spaces", lambda: None)
    assert not inside.is_gone(), "from here it cannot be seen"


def test_a_running_container_of_another_boot_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """D14: a socket may lead to the engine of another machine."""
    from flyte_images_runtime.engines import leftovers as remains

    mark = "00000000-4026531836-17-3"
    there = [remains.Remaining("unix:///x", "", str(runs), mark, booted() - 3600, runs) for runs in (True, False)]
    monkeypatch.setattr(remains, "containers", lambda address: there)
    assert [one.name for one in reaper.leftovers_of("unix:///x")] == ["False"]


def test_a_keeper_that_reaches_no_engine_asks_for_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D14"""
    stamp = tmp_path / "last"
    stamp.touch()
    monkeypatch.setattr(reaper, "_PATIENCE", 0.05)
    monkeypatch.setattr(reaper, "_PAUSE", 0.01)
    reaper.after(f"unix://{tmp_path}/none", "00000000-1-2-3", str(stamp))
    assert not stamp.exists()


def test_a_start_without_a_sweep_imports_little() -> None:
    """D14: a build that changes nothing takes milliseconds."""
    code = "import flyte_images.leftovers"
    argv = (sys.executable, "-I", "-X", "importtime", "-c", code)
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "flyte_images_runtime.engines.reaper" not in done.stderr and "flyte_images_runtime.oci" not in done.stderr
