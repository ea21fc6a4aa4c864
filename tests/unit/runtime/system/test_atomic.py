"""Files and directories are whole or absent, private, and swept when their writer was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flyte_images_runtime.system import atomic
from flyte_images_runtime.system.process_id import current, new_name


def of_a_dead_process() -> str:
    """Return a name with the id of a process that has ended."""
    code = "from flyte_images_runtime.system.process_id import new_name; print(new_name())"
    return subprocess.run((sys.executable, "-c", code), check=True, capture_output=True, text=True).stdout.strip()


def test_a_file_and_the_directories_above_it_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """D12: only the user can read stored files."""
    before = os.umask(0)
    try:
        atomic.write(tmp_path / "a" / "b" / "file", b"data")
    finally:
        os.umask(before)
    modes = [
        path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "file")
    ]
    assert modes == [0o700, 0o700, 0o600]


def test_nothing_is_left_of_a_write_that_fails(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        atomic.write(tmp_path / "file", b"data")
    with pytest.raises(ZeroDivisionError), atomic.partial_directory(tmp_path) as partial:
        (partial / "x").write_text("x")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_sweep_removes_what_dead_processes_left_and_nothing_else(tmp_path: Path) -> None:
    """D27: the partial files and directories of a killed process are removed at the next start."""
    gone = of_a_dead_process()
    (tmp_path / f"{atomic.PREFIX}{gone}").write_text("half a blob")
    (tmp_path / f"{atomic.PREFIX}{gone}-dir").mkdir()
    (tmp_path / f"{atomic.PREFIX}{gone}-dir" / "x").write_text("x")
    elsewhere = f"{atomic.PREFIX}00000000-1-{os.getpid()}-1-1"  # of another boot or machine
    kept = {f"{atomic.PREFIX}{new_name()}", f"{atomic.PREFIX}name", "blob", elsewhere}
    for name in kept:
        (tmp_path / name).touch()
    assert atomic.sweep(tmp_path) == 2
    assert {path.name for path in tmp_path.iterdir()} == kept
    os.utime(tmp_path / elsewhere, (0, 0))
    assert atomic.sweep(tmp_path) == 1
    assert atomic.sweep(tmp_path / "nowhere") == 0


def test_names_contain_the_process_id(tmp_path: Path) -> None:
    with atomic.partial_path(tmp_path) as one, atomic.partial_path(tmp_path) as other:
        assert one != other
        assert one.name.startswith(f"{atomic.PREFIX}{current()}-")
