"""Artifacts stay as long as the program that ran their task, and for a week after; their total size is bounded."""

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
def ended() -> ProcessId:
    """A process of this machine that has ended."""
    program = "from flyte_images_runtime.system.process_id import current; print(current())"
    done = subprocess.run((sys.executable, "-c", program), check=True, capture_output=True, text=True)
    boot, space, pid, start = done.stdout.strip().split("-")
    return ProcessId(boot, space, int(pid), start)


def make_artifacts(directory: Path, name: str, size: int = 0, *, complete: bool = True, age: float = 0.0) -> Path:
    path = directory / name
    (path / "x").mkdir(parents=True)
    (path / "x" / "data").write_bytes(bytes(size))
    if complete:
        (path / ".whole").touch()
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_a_run_has_a_directory_as_soon_as_a_file_arrives(tmp_path: Path) -> None:
    first, second = (ArtifactDir.of({"FLYTE_IMAGES_CACHE": str(tmp_path)}) for _ in "12")
    assert first.path != second.path
    first.commit()
    assert not (tmp_path / "files").exists()
    source = tmp_path / "source.txt"
    source.write_text("hello")
    (tmp_path / "out").mkdir()
    with Files(str(tmp_path / "out"), arrivals=str(first.path)) as files:
        file = codec(File).decode(codec(File).encode(File(source), files), files)
    first.commit()
    assert file.path.startswith(f"{first.path}/")
    assert file.read_text() == "hello"
    first.discard()
    assert not (tmp_path / "files").exists()


def test_artifacts_of_running_programs_stay_and_others_go_after_a_week(tmp_path: Path, ended: ProcessId) -> None:
    week = 7 * 86400.0
    mine = make_artifacts(tmp_path, f"{current()}-1", age=2 * week)
    receiving = make_artifacts(tmp_path, f"{current()}-2", complete=False)
    fresh = make_artifacts(tmp_path, f"{ended}-1")
    old = make_artifacts(tmp_path, f"{ended}-2", age=1.1 * week)
    partial = make_artifacts(tmp_path, f"{ended}-3", complete=False)
    elsewhere = make_artifacts(tmp_path, f"{replace(ended, boot='00000000')}-1", complete=False)
    before_a_boot = make_artifacts(tmp_path, f"{replace(ended, boot='00000000')}-2", age=1.1 * week)
    prune(tmp_path)
    assert all(path.exists() for path in (mine, receiving, fresh, elsewhere))
    assert not any(path.exists() for path in (old, partial, before_a_boot))


def test_the_oldest_artifacts_go_first_beyond_the_size(tmp_path: Path, ended: ProcessId) -> None:
    newest, middle, oldest = (make_artifacts(tmp_path, f"{ended}-{at}", 1000, age=at * 60) for at in (1, 2, 3))
    mine = make_artifacts(tmp_path, f"{current()}-1", 5000)
    prune(tmp_path, largest=2500)
    assert newest.exists()
    assert middle.exists()
    assert mine.exists()
    assert not oldest.exists()


def test_a_file_is_saved_to_a_path_or_into_a_directory(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("1,2")
    (tmp_path / "kept").mkdir()
    assert File(source).save(tmp_path / "kept") == File(tmp_path / "kept" / "a.csv")
    assert File(source).save(tmp_path / "new" / "b.csv").read_text() == "1,2"
    assert File(source).save(str(tmp_path / "new" / "b.csv")).name == "b.csv"
    assert File(source).save(f"{tmp_path}/other/").path == str(tmp_path / "other" / "a.csv")


def test_a_directory_is_saved_over_an_existing_one(tmp_path: Path) -> None:
    source = tmp_path / "model"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "weights").write_text("w")
    (source / "best").symlink_to("deep/weights")
    for _ in "12":
        saved = Dir(source).save(tmp_path / "kept")
        assert Path(saved, "deep", "weights").read_text() == "w"
    assert saved == Dir(tmp_path / "kept")
