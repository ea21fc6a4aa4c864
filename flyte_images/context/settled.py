"""Decide whether the times of a file will show every later change.

The kernel updates the times for a store through a shared mapping when it makes the page writable. Later stores to the
same page leave no trace until the page was written to disk. So a file that changed a short time ago is written to disk
before its status is read. A file on a file system in memory is never written to disk, so it is never settled.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from pathlib import Path

_BUDGET = 30_000_000  # nanoseconds that one scan of a tree may wait for the disk
_IN_MEMORY = frozenset({"tmpfs", "ramfs", "hugetlbfs"})
_SETTINGS = Path("/proc/sys/vm")
_DEFAULTS = {"dirty_expire_centisecs": 3000, "dirty_writeback_centisecs": 500}


class Settling:
    """Settle the files of one tree, within a budget of waiting for the disk."""

    def __init__(self) -> None:
        self._left = _BUDGET

    def settle(self, descriptor: int, status: os.stat_result) -> bool:
        """Return whether changes from now on will show in the times of the file. `status`: its last known status."""
        if _is_in_memory(status.st_dev):
            return False
        began = time.time_ns()
        if max(status.st_mtime_ns, status.st_ctime_ns) + _horizon() < began:
            return True  # the kernel has written the file by itself
        if self._left <= 0:
            return False
        try:
            os.fdatasync(descriptor)
        except OSError:  # a file system without fdatasync
            return False
        finally:
            self._left -= time.time_ns() - began
        return True


@functools.cache
def _horizon() -> int:
    """Return the nanoseconds after which the kernel has written dirty pages: twice its setting, for a busy disk."""
    total = 0
    for name, default in _DEFAULTS.items():
        value = default
        with contextlib.suppress(OSError, ValueError):
            value = (
                int((_SETTINGS / name).read_text(encoding="ascii")) or 360_000
            )  # 0: the kernel never writes by itself
        total += value
    return 2 * total * 10_000_000


@functools.lru_cache(maxsize=64)
def _is_in_memory(device: int) -> bool:
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            before, _, after = line.partition(" - ")
            if before.split(" ", 3)[2] == wanted:
                return after.split(" ", 1)[0] in _IN_MEMORY
    return False
