"""A user for one task of root: a number that is neither an account's nor another running task's.

A process with the task's number may read its memory, arguments and secrets through /proc and kill its processes. So
each task of root has another number, from a range that distributions, systemd and directory services leave free.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import struct
from dataclasses import dataclass
from pathlib import Path

_FREE = range(0x7800_0000, 0x7C00_0000)
_LOCKS = Path("/run/flyte-images-users")  # only root can write to /run
_LOCK = "hhqqi0q"  # struct flock


@dataclass(slots=True)
class LentUser:
    """The number of a user and of its group, reserved until `give_back` or the end of this process."""

    number: int
    _file: int = -1

    def give_back(self) -> None:
        """Free the number for another task. A second call does nothing."""
        if self._file >= 0:
            with contextlib.suppress(OSError):  # unlock also where a fork still has the descriptor
                _lock(self._file, self.number, fcntl.F_UNLCK)
            os.close(self._file)
            self._file = -1


def lend_user() -> LentUser:
    """Return a user that no account and no other task is. Raise OSError where this process has no such numbers."""
    numbers, taken = _numbers(), _accounts()
    for _ in range(100):
        number = numbers[int.from_bytes(os.urandom(4), "big") % len(numbers)]
        if any(number in span for span in taken):
            continue
        try:
            file = os.open(_LOCKS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return LentUser(number)  # drawn from millions: the lock is only a second safeguard
        try:
            _lock(file, number, fcntl.F_WRLCK)
        except OSError:
            os.close(file)  # another task has the number
        else:
            return LentUser(number, file)
    raise OSError(errno.EAGAIN, "no user number is free for the task")


def _lock(file: int, number: int, kind: int) -> None:
    """Lock or unlock the byte of the number. The kernel unlocks the byte with the last descriptor of the file."""
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(_LOCK, kind, os.SEEK_SET, number, 1, 0))


@functools.lru_cache(maxsize=1)
def _numbers() -> range:
    """Return the numbers that are free for both users and groups."""
    free = [free_numbers(Path(f"/proc/self/{kind}_map").read_text(encoding="utf-8")) for kind in ("uid", "gid")]
    common = range(max(numbers.start for numbers in free), min(numbers.stop for numbers in free))
    if not common:
        raise OSError(errno.EINVAL, "this user namespace has no user numbers for tasks")
    return common


def free_numbers(mapped: str) -> range:
    """Return the numbers for tasks, by the text of /proc/self/uid_map: in a small namespace, its upper half.

    >>> free_numbers("0 0 4294967295") == _FREE
    True
    >>> free_numbers("0 100000 65536")
    range(32768, 65533)
    >>> free_numbers("0 1000 1")
    range(0, 0)
    """
    spans = []
    for line in mapped.splitlines():
        inside, _, count = map(int, line.split())
        spans.append(range(inside, inside + count))
    if any(span.start <= _FREE.start and _FREE.stop <= span.stop for span in spans):
        return _FREE
    largest = max(spans, key=len, default=range(0))
    middle = largest.start + len(largest) // 2
    return (
        range(middle, largest.stop - 3) if len(largest) > 1000 else range(0)
    )  # the last numbers are nobody and nogroup


@functools.lru_cache(maxsize=1)
def _accounts() -> tuple[range, ...]:
    """Return the numbers of this machine's accounts and groups, and those that subuid and subgid give to accounts."""
    spans = []
    for file, start, count in (("passwd", 2, None), ("group", 2, None), ("subuid", 1, 2), ("subgid", 1, 2)):
        with contextlib.suppress(OSError):
            for line in Path("/etc", file).read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, IndexError):
                    parts = line.split(":")
                    first = int(parts[start])
                    spans.append(range(first, first + (1 if count is None else int(parts[count]))))
    return tuple(spans)
