"""Remembers which file had which content, so that what did not change is not read again.

An entry holds if size, times, inode and mode are still those with which the file was read. The change time is set by
the kernel and by no one else: a file that got other bytes with the same size and modification time is still seen. A
file that was changed just before it was read is not entered, as a second change might come within the clock's tick.

The index saves time and nothing else: a missing, damaged or unwritable one is as good as an empty one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from ..store import json_cache
from .settled import Settling

_VERSION = 1
RACY = 2_000_000_000  # nanoseconds; the coarsest clocks of file systems tick every two seconds

StatusKey = tuple[int, int, int, int, int, int]


class Index:
    """The index of one tree, `name` among those in `directory` (None: of nothing)."""

    def __init__(self, directory: Path | None, name: str) -> None:
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
        self._path = directory / f"{digest[:32]}.index" if directory else None
        self._old = _load(self._path) if self._path else {}
        self._new: dict[str, tuple[StatusKey, str]] = {}
        self._settling = Settling()

    def find(self, path: bytes, status: os.stat_result) -> bytes | None:
        """The digest of the file, if it is known to be still that."""
        name = os.fsdecode(path)
        entry = self._old.get(name)
        if entry is None or entry[0] != status_key(status):
            return None
        self._new[name] = entry
        return bytes.fromhex(entry[1])

    def settle(self, descriptor: int) -> bool:
        """Return whether later changes of the open file will show in its times. An index of nothing does not ask."""
        return self._path is not None and self._settling.settle(descriptor, os.fstat(descriptor))

    def has(self, path: bytes) -> bool:
        """Return whether the file was found, or entered, in this look at the tree."""
        return os.fsdecode(path) in self._new

    def add(self, path: bytes, status: os.stat_result, digest: bytes, *, read_at: int, settled: bool) -> None:
        """Enter a file that was read from `read_at` (nanoseconds since 1970) on, and had this status all the while.

        A file that is not settled is not entered: it may change, and its status stay the same.
        """
        if settled and max(status.st_ctime_ns, status.st_mtime_ns) + RACY < read_at:
            self._new[os.fsdecode(path)] = (status_key(status), digest.hex())

    def save(self) -> None:
        """Write what was found and added, if that differs from what was there."""
        if self._path is None or self._new == self._old:
            return
        with contextlib.suppress(OSError):
            json_cache.save(self._path, {"version": _VERSION, "files": self._new})


def status_key(status: os.stat_result) -> StatusKey:
    """Size, modification time, change time, inode, device, mode."""
    return (
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
        status.st_mode,
    )


def _load(path: Path) -> Mapping[str, tuple[StatusKey, str]]:
    try:
        content = json_cache.load(path)
    except (OSError, ValueError):
        return {}
    if content.get("version") != _VERSION:
        return {}
    return {name: (tuple(key), digest) for name, (key, digest) in content["files"].items()}
