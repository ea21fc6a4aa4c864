"""Scratch directories that are removed at the end, and locks."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flyte_images.bootstrap.scratch_dir import exclusive, open_scratch_dir
from flyte_images.errors import FlyteImagesError

_DIE = """
import os, sys
from flyte_images.bootstrap.scratch_dir import open_scratch_dir
with open_scratch_dir({"TMPDIR": sys.argv[1]}) as place:
    (place.directory / "half").mkdir()
    (place.directory / "half" / "made").write_text("x")
    os._exit(9)
"""


def test_a_scratch_directory_is_removed_at_the_end_also_after_an_error(tmp_path: Path) -> None:
    environ = {"TMPDIR": str(tmp_path)}
    with pytest.raises(ValueError), open_scratch_dir(environ) as place:
        (place.directory / "file").touch()
        assert place.directory.stat().st_mode & 0o777 == 0o755
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_the_next_process_removes_the_directory_of_a_killed_process(tmp_path: Path) -> None:
    assert subprocess.run((sys.executable, "-c", _DIE, str(tmp_path))).returncode == 9
    (left,) = tmp_path.iterdir()
    assert (left / "half" / "made").exists()
    with open_scratch_dir({"TMPDIR": str(tmp_path)}) as place:
        assert list(tmp_path.iterdir()) == [place.directory]


def test_a_directory_that_is_in_use_stays(tmp_path: Path) -> None:
    """A program that inherited the lock keeps the directory after the process that made it was killed."""
    environ = {"TMPDIR": str(tmp_path)}
    with open_scratch_dir(environ) as used:
        inherited = os.dup(used.lock_fd)
        os.close(used.lock_fd)
        with open_scratch_dir(environ):
            assert used.directory.exists()
        os.dup2(inherited, used.lock_fd)
        os.close(inherited)


def test_directories_of_other_programs_stay(tmp_path: Path) -> None:
    for name in ("flyte-images-base-mine", "flyte-images-session-x"):
        (tmp_path / name).mkdir()  # without a lock file: not a scratch directory
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "lock").touch()
    (tmp_path / "flyte-images-base-link").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.iterdir())
    with open_scratch_dir({"TMPDIR": str(tmp_path)}):
        pass
    assert sorted(tmp_path.iterdir()) == before


def test_a_directory_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with (
        pytest.raises(FlyteImagesError, match="cannot make a directory") as raised,
        open_scratch_dir({"TMPDIR": str(tmp_path / "nowhere")}),
    ):
        pass
    assert "TMPDIR" in str(raised.value.hint)


def test_the_first_process_gets_the_lock_at_once(tmp_path: Path) -> None:
    calls: list[str] = []
    with exclusive(tmp_path / "new" / "lock", waiting=lambda: calls.append("waiting")) as waited:
        assert not waited
    assert calls == []


def test_the_second_process_is_notified_and_waits(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = os.open(path, os.O_CREAT | os.O_RDWR)
    fcntl.flock(first, fcntl.LOCK_EX)
    calls: list[str] = []

    def waiting() -> None:
        calls.append("waiting")
        os.close(first)  # the first holder ends

    with exclusive(path, waiting=waiting) as waited:
        assert waited
    assert calls == ["waiting"]
