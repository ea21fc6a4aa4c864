"""A user for one task of root: a number that no account has, and no other task at the same time.

Whoever has the task's number may read its memory, arguments and secrets through /proc and end its processes. So each
task of root has a number of its own, out of a range that distributions, systemd and directory services leave free.
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
_LOCKS = Path("/run/flyte-images-users")  # in a directory of root's
_LOCK = "hhqqi0q"  # struct flock


@dataclass(slots=True)
class LentUser:
    """The number of a user and of its group, held until `give_back` or the end of this process."""

    number: int
    _file: int = -1

    def give_back(self) -> None:
        """Let another task have the number. A second time does nothing."""
        if self._file >= 0:
            with contextlib.suppress(OSError):  # unlocked too where a fork still has the descriptor
                _lock(self._file, self.number, fcntl.F_UNLCK)
            os.close(self._file)
            self._file = -1


def lend_user() -> LentUser:
    """Return a user that nobody else is. Raise OSError where this process has no numbers to give."""
    numbers, taken = _numbers(), _accounts()
    for _ in range(100):
        number = numbers[int.from_bytes(os.urandom(4), "big") % len(numbers)]
        if any(number in span for span in taken):
            continue
        try:
            file = os.open(_LOCKS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return LentUser(number)  # drawn out of millions: the lock is a second guard
        try:
            _lock(file, number, fcntl.F_WRLCK)
        except OSError:
            os.close(file)  # another task has it
        else:
            return LentUser(number, file)
    raise OSError(errno.EAGAIN, "no number of a user is free for the task")


def _lock(file: int, number: int, kind: int) -> None:
    """One byte of the file stands for each number; the kernel lets go of it with the last descriptor."""
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(_LOCK, kind, os.SEEK_SET, number, 1, 0))


@functools.lru_cache(maxsize=1)
def _numbers() -> range:
    found = [free_numbers(Path(f"/proc/self/{kind}_map").read_text(encoding="utf-8")) for kind in ("uid", "gid")]
    both = range(max(one.start for one in found), min(one.stop for one in found))
    if not both:
        raise OSError(errno.EINVAL, "this user namespace has no numbers of users for tasks")
    return both


def free_numbers(mapped: str) -> range:
    """Return the numbers that tasks can have, by the text of /proc/self/uid_map; the upper half of a small namespace.

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
    return range(middle, largest.stop - 3) if len(largest) > 1000 else range(0)  # the last ones are nobody's


@functools.lru_cache(maxsize=1)
def _accounts() -> tuple[range, ...]:
    """The numbers of this machine's accounts, and those that were given to accounts."""
    found = []
    for file, start, count in (("passwd", 2, None), ("group", 2, None), ("subuid", 1, 2), ("subgid", 1, 2)):
        with contextlib.suppress(OSError):
            for line in Path("/etc", file).read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, IndexError):
                    parts = line.split(":")
                    first = int(parts[start])
                    found.append(range(first, first + (1 if count is None else int(parts[count]))))
    return tuple(found)
