"""Write files and directories so that others see all of one or nothing, readable by this user alone.

An entry that is being written is called `.partial-<owner>-<number>` until it is whole and gets its name. The owner is
the process that writes it (owner.py), so what a killed process left can be found and removed: `sweep`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .process_id import new_name, parse

PREFIX = ".partial-"
_STRANGE = 86400.0  # seconds after which a partial entry without an owner that can be seen from here is given up


def write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file whole or not at all. Raise OSError if the file cannot be written."""
    private_directory(path.parent)
    with partial_file(path.parent, mode=mode) as (partial, file):
        file.write(data)
        file.flush()
        partial.replace(path)


@contextlib.contextmanager
def partial_path(directory: Path) -> Iterator[Path]:
    """Return a new path in `directory` to write to and then to rename. What is still there at the end is removed."""
    path = directory / f"{PREFIX}{new_name()}"
    try:
        yield path
    finally:
        remove(path)


@contextlib.contextmanager
def partial_file(directory: Path, *, mode: int = 0o600) -> Iterator[tuple[Path, BinaryIO]]:
    """Return a new file in `directory`, open for writing and reading, and its path; the writer renames the path."""
    with (
        partial_path(directory) as path,
        open(path, "x+b", opener=lambda name, flags: os.open(name, flags, mode)) as file,
    ):
        yield path, file


@contextlib.contextmanager
def partial_directory(directory: Path) -> Iterator[Path]:
    """Return a new directory in `directory` that only this user can enter; the writer renames the path."""
    with partial_path(directory) as path:
        path.mkdir(mode=0o700)
        yield path


def private_directory(path: Path) -> None:
    """Make a directory and those above it that are missing, for this user alone."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
    except FileNotFoundError:
        private_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def sweep(directory: Path, prefix: str = PREFIX) -> int:
    """Remove entries `<prefix><owner>...` whose owner has ended. Return how many entries there were."""
    count = 0
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):  # noqa: PTH208 - names alone: the directory may be large
            if name.startswith(prefix) and _is_left(directory / name, name.removeprefix(prefix)):
                remove(directory / name)
                count += 1
    return count


def _is_left(path: Path, name: str) -> bool:
    owner = parse(name)
    if owner is not None and owner.is_here():
        return owner.is_gone()
    with contextlib.suppress(OSError):
        return time.time() - path.lstat().st_mtime > _STRANGE
    return False


def remove(path: Path) -> None:
    """Remove a file or a directory, if it is there and belongs to this user."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            import shutil  # loads every compression there is, and mostly nothing is left

            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
