"""Whether a file's times will tell of every later change.

The kernel notes a store through a shared mapping when it makes the page writable. After that, stores to the same page
leave no trace until the page has been written to the disk. So a file that changed a short time ago is written to the
disk before its status is read. A file of a file system in memory is never written to a disk, and is never settled.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from pathlib import Path

_BUDGET = 30_000_000  # nanoseconds for which one look at a tree may wait for the disk
_IN_MEMORY = frozenset({"tmpfs", "ramfs", "hugetlbfs"})
_SETTINGS = Path("/proc/sys/vm")
_USUAL = {"dirty_expire_centisecs": 3000, "dirty_writeback_centisecs": 500}


class Settling:
    """Settles the files of one tree, for as long as there is time left to wait for the disk."""

    def __init__(self) -> None:
        self._left = _BUDGET

    def settle(self, descriptor: int, status: os.stat_result) -> bool:
        """Return whether changes from now on will show in the file's times. `status` is the last that was seen."""
        if _is_in_memory(status.st_dev):
            return False
        begun = time.time_ns()
        if max(status.st_mtime_ns, status.st_ctime_ns) + _horizon() < begun:
            return True  # the kernel has written it by itself
        if self._left <= 0:
            return False
        try:
            os.fdatasync(descriptor)
        except OSError:  # a file system that cannot
            return False
        finally:
            self._left -= time.time_ns() - begun
        return True


@functools.cache
def _horizon() -> int:
    """Nanoseconds after which the kernel has written what is dirty: twice its setting, as the disk may be busy."""
    total = 0
    for name, usual in _USUAL.items():
        value = usual
        with contextlib.suppress(OSError, ValueError):
            value = int((_SETTINGS / name).read_text(encoding="ascii")) or 360_000  # 0: it never does so by itself
        total += value
    return 2 * total * 10_000_000


@functools.lru_cache(maxsize=64)
def _is_in_memory(device: int) -> bool:
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            before, _, behind = line.partition(" - ")
            if before.split(" ", 3)[2] == wanted:
                return behind.split(" ", 1)[0] in _IN_MEMORY
    return False
