"""Copies of source trees that are kept for the next run: which are in use, which are as they were made, and which go.

A process that uses a copy holds a lock on its directory, which the kernel releases when the process ends, however it
does. A copy that no process holds goes when no run has used it for a week, or, the oldest first, when all of them
together are more than 2 GiB.

Beside a copy lies its seal: the status of each file as it was written. A copy whose files have another status was
changed behind this package's back, and is made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from flyte_images_runtime.system.atomic import private_directory
from flyte_images_runtime.system.process_id import new_name

from ..store import json_cache
from ..store.bounded_dir import BoundedDirectory, size_of

UNUSED = 7 * 86400.0  # seconds
LARGEST = 2 << 30  # bytes
_MOST_HELD = 64  # copies that one process holds: the last that it used
_SEAL = ".json"
_LOCK = ".lock"
_held: dict[Path, int] = {}


def hold(place: Path) -> bool:
    """Keep the copy for as long as this process. Return False if there is none."""
    try:
        os.utime(place)
        if place in _held:
            return True
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        _let_go(place)
        return False
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(directory, fcntl.LOCK_SH)
    if not place.exists():  # it was removed in this moment
        os.close(directory)
        return False
    _held[place] = directory
    if len(_held) > _MOST_HELD:
        _let_go(next(iter(_held)))
    return True


def _let_go(place: Path) -> None:
    directory = _held.pop(place, None)
    if directory is not None:
        os.close(directory)


@contextlib.contextmanager
def being_made(directory: Path) -> Iterator[None]:
    """Let one process at a time check, make and seal copies: a copy that is not sealed yet looks damaged."""
    private_directory(directory)
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def seal(place: Path) -> None:
    """Write down the status of each file of the copy. The next process makes a copy again that could not be sealed."""
    files = _statuses(place)
    size = sum(status[1] for status in files.values() if len(status) > 1)
    with contextlib.suppress(OSError):
        json_cache.save(_seal_of(place), {"size": size, "files": files})


def is_whole(place: Path) -> bool:
    """Return whether the copy's files are as they were sealed. Byte code that is not as it was sealed is removed."""
    try:
        sealed = json_cache.load(_seal_of(place))["files"]
        there = _statuses(place)
        for name in [name for name in there if _is_byte_code(name) and there[name] != sealed.get(name)]:
            if len(there.pop(name)) > 1:
                (place / name).unlink()
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return there == {name: status for name, status in sealed.items() if name in there or not _is_byte_code(name)}


def put_away(place: Path) -> None:
    """Take the name from a copy that is not whole. It is removed, unless a task still uses it."""
    _let_go(place)
    copies = copies_in(place.parent)
    for entry in copies.entries():
        if entry.name == place.name and not copies.remove(entry):
            with contextlib.suppress(OSError):
                place.rename(place.with_name(f"{place.name}-{new_name()}"))


def copies_in(directory: Path, *, unused: float = UNUSED, largest: int = LARGEST) -> BoundedDirectory:
    """The copies that are kept in `directory`, and their bounds."""
    return BoundedDirectory(
        path=directory, unused=unused, largest=largest, entry_of=_entry_of, claim=_claimed, measure=_size
    )


def _entry_of(name: str) -> str | None:
    return name.removesuffix(_SEAL) if not name.startswith(".") else None


def _seal_of(place: Path) -> Path:
    return place.with_name(place.name + _SEAL)


def _size(paths: Sequence[Path]) -> int:
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        return int(json_cache.load(_seal_of(paths[0]))["size"])
    return size_of(paths)


@contextlib.contextmanager
def _claimed(place: Path) -> Iterator[bool]:
    """Lock the copy against its use. False if a process uses it."""
    directory = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(directory)


def _is_byte_code(name: str) -> bool:
    return "__pycache__" in name.split("/")


def _statuses(place: Path) -> dict[str, list[int]]:
    """The files and directories below `place`: mode, and of files size, times and inode."""
    found: dict[str, list[int]] = {}
    todo = [""]
    while todo:
        folder = todo.pop()
        with os.scandir(place / folder) as items:
            for item in items:
                seen = item.stat(follow_symlinks=False)
                name = folder + item.name
                if stat.S_ISDIR(seen.st_mode):
                    found[name] = [seen.st_mode]
                    todo.append(name + "/")
                else:
                    found[name] = [seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]
    return found
