"""Outputs that are not on a disk of a fixed size are measured, and too much in them ends the task."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images_runtime.execution import disk_watch
from flyte_images_runtime.execution.disk_watch import Watch
from flyte_images_runtime.task import exchange as module
from flyte_images_runtime.task.exchange import Exchange, make_exchange


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exchange]:
    monkeypatch.setattr(module, "memory_base", lambda: tmp_path / "memory")
    monkeypatch.setattr(module, "disk_base", lambda: tmp_path / "disk")
    monkeypatch.setattr(disk_watch, "_EVERY", 0.005)
    found = make_exchange()
    yield found
    found.remove()


@pytest.mark.parametrize("place", ["outputs", "memory"])
def test_too_much_ends_the_task(made: Exchange, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """D9: where a disk cannot be made, the exchange has a bound all the same."""
    monkeypatch.setattr(disk_watch, "USUAL", 1 << 20)
    ended = threading.Event()
    (getattr(made, place) / "below").mkdir()
    with Watch(made, ended.set) as seen:
        (getattr(made, place) / "below" / "sparse").touch()
        os.truncate(getattr(made, place) / "below" / "sparse", 1 << 30)  # takes no space
        (getattr(made, place) / "below" / "file").write_bytes(bytes(2 << 20))
        assert ended.wait(20)
    assert seen.exceeded
    assert "left more than 1Mi" in str(seen.error("t"))


def test_too_many_files_end_the_task(made: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_watch, "_MOST", 10)
    for number in range(11):
        (made.outputs / str(number)).touch()
    ended = threading.Event()
    with Watch(made, ended.set):
        assert ended.wait(20)
