"""Copies of source trees that are kept for the next run: which are in use, and which go when they are too many.

A process that uses a copy holds a lock on its directory, which the kernel lets go when the process ends, however it
does. What nobody holds goes when no run has used it for a week, or, the oldest first, when all of them together are
more than 2 GiB.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from pathlib import Path

UNUSED = 7 * 86400.0  # seconds
LARGEST = 2 << 30  # bytes
_MOST_HELD = 64  # copies that one process holds: the last that it used
_MADE_WITHIN = 3600.0  # seconds in which a copy is made
_SIZE = ".size"
_held: dict[Path, int] = {}


def hold(place: Path) -> bool:
    """Keep the copy for as long as this process. False if there is none."""
    try:
        os.utime(place)
        if place in _held:
            return True
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # somebody else's, who keeps it
        return place.is_dir()
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


def note_size(place: Path, size: int) -> None:
    """Remember how large a copy is, so that nobody has to count."""
    place.with_name(place.name + _SIZE).write_text(str(size), encoding="utf-8")


def forget(directory: Path, *, unused: float = UNUSED, largest: int = LARGEST) -> None:
    """Remove copies that have not been used for long, and the oldest of those that are too many."""
    copies: list[tuple[float, Path]] = []
    for place in directory.iterdir():
        with contextlib.suppress(OSError):
            used = place.stat().st_mtime
            if place.name.startswith("."):  # one that is being made, or was when its maker was killed
                if time.time() - used > _MADE_WITHIN:
                    shutil.rmtree(place, ignore_errors=True)
            elif place.is_dir():
                copies.append((used, place))
    room = largest
    for used, place in sorted(copies, reverse=True):
        room -= _size(place)
        if room < 0 or time.time() - used > unused:
            _remove(place)


def _size(place: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(place.with_name(place.name + _SIZE).read_text(encoding="utf-8"))
    return sum(file.lstat().st_size for file in place.rglob("*") if file.is_file())


def _remove(place: Path) -> None:
    try:
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        gone = place.with_name(f".{place.name[:16]}.{secrets.token_hex(4)}")
        place.rename(gone)  # at once: nobody finds half of it
    except OSError:  # somebody uses it
        return
    finally:
        os.close(directory)
    shutil.rmtree(gone, ignore_errors=True)
    place.with_name(place.name + _SIZE).unlink(missing_ok=True)
