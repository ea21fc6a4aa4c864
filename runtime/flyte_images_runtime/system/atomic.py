"""Write files and directories atomically: others see a whole entry or none. Only this user can read the entries.

An entry that is being written is called `.partial-<owner>-<number>`; when it is whole it is renamed. The owner is the
writing process (process_id.py), so `sweep` can find and remove the entries of killed processes.
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
_FOREIGN_AGE = 86400.0  # seconds after which a partial entry is removed although its owner cannot be seen from here


def write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file atomically. Raise OSError if the file cannot be written."""
    private_directory(path.parent)
    with partial_file(path.parent, mode=mode) as (partial, file):
        file.write(data)
        file.flush()
        partial.replace(path)


@contextlib.contextmanager
def partial_path(directory: Path) -> Iterator[Path]:
    """Return a new path in `directory` to write to and then to rename. At the end, remove what still has that path."""
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
    """Make a directory, and the missing ones above it, for this user alone."""
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
            if name.startswith(prefix) and _is_abandoned(directory / name, name.removeprefix(prefix)):
                remove(directory / name)
                count += 1
    return count


def _is_abandoned(path: Path, name: str) -> bool:
    owner = parse(name)
    if owner is not None and owner.is_here():
        return owner.is_gone()
    with contextlib.suppress(OSError):
        return time.time() - path.lstat().st_mtime > _FOREIGN_AGE
    return False


def remove(path: Path) -> None:
    """Remove a file or a directory. Do nothing if it is absent or belongs to another user."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            import shutil  # loads all compression modules, and is seldom needed

            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
