"""What tasks return is there as long as their caller, and for a while after; it never grows without end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_images.runner.artifacts import ArtifactDir, prune
from flyte_images_runtime.system.process_id import ProcessId, current
from flyte_images_runtime.values import Dir, File, Files, codec


@pytest.fixture
def gone() -> ProcessId:
    """A process of this machine that has ended."""
    program = "from flyte_images_runtime.system.process_id import current; print(current())"
    done = subprocess.run((sys.executable, "-c", program), check=True, capture_output=True, text=True)
    boot, space, pid, start = done.stdout.strip().split("-")
    return ProcessId(boot, space, int(pid), start)


def left(directory: Path, name: str, size: int = 0, *, whole: bool = True, age: float = 0.0) -> Path:
    path = directory / name
    (path / "x").mkdir(parents=True)
    (path / "x" / "data").write_bytes(bytes(size))
    if whole:
        (path / ".whole").touch()
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_a_run_has_a_directory_of_its_own_once_a_file_comes(tmp_path: Path) -> None:
    first, second = (ArtifactDir.of({"FLYTE_IMAGES_CACHE": str(tmp_path)}) for _ in "12")
    assert first.path != second.path
    first.commit()
    assert not (tmp_path / "files").exists()
    source = tmp_path / "source.txt"
    source.write_text("hello")
    (tmp_path / "out").mkdir()
    with Files(str(tmp_path / "out"), arrivals=str(first.path)) as files:
        found = codec(File).decode(codec(File).encode(File(source), files), files)
    first.commit()
    assert found.path.startswith(f"{first.path}/")
    assert found.read_text() == "hello"
    first.discard()
    assert not (tmp_path / "files").exists()


def test_what_is_of_the_living_stays_and_the_rest_has_an_end(tmp_path: Path, gone: ProcessId) -> None:
    week = 7 * 86400.0
    mine = left(tmp_path, f"{current()}-1", age=2 * week)
    receiving = left(tmp_path, f"{current()}-2", whole=False)
    fresh = left(tmp_path, f"{gone}-1")
    old = left(tmp_path, f"{gone}-2", age=1.1 * week)
    partial = left(tmp_path, f"{gone}-3", whole=False)
    elsewhere = left(tmp_path, f"{replace(gone, boot='00000000')}-1", whole=False)
    before_a_boot = left(tmp_path, f"{replace(gone, boot='00000000')}-2", age=1.1 * week)
    prune(tmp_path)
    assert all(path.exists() for path in (mine, receiving, fresh, elsewhere))
    assert not any(path.exists() for path in (old, partial, before_a_boot))


def test_the_oldest_go_first_when_there_is_too_much(tmp_path: Path, gone: ProcessId) -> None:
    newest, middle, oldest = (left(tmp_path, f"{gone}-{at}", 1000, age=at * 60) for at in (1, 2, 3))
    mine = left(tmp_path, f"{current()}-1", 5000)
    prune(tmp_path, largest=2500)
    assert newest.exists()
    assert middle.exists()
    assert mine.exists()
    assert not oldest.exists()


def test_a_file_is_saved_where_it_is_wanted(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("1,2")
    (tmp_path / "kept").mkdir()
    assert File(source).save(tmp_path / "kept") == File(tmp_path / "kept" / "a.csv")
    assert File(source).save(tmp_path / "new" / "b.csv").read_text() == "1,2"
    assert File(source).save(str(tmp_path / "new" / "b.csv")).name == "b.csv"
    assert File(source).save(f"{tmp_path}/other/").path == str(tmp_path / "other" / "a.csv")


def test_a_directory_is_saved_into_what_is_there(tmp_path: Path) -> None:
    source = tmp_path / "model"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "weights").write_text("w")
    (source / "best").symlink_to("deep/weights")
    for _ in "12":
        saved = Dir(source).save(tmp_path / "kept")
        assert Path(saved, "deep", "weights").read_text() == "w"
    assert saved == Dir(tmp_path / "kept")
