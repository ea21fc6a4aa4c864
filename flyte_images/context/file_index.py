"""Keep the digests of local files, so that unchanged files are not read again.

An entry is valid while size, times, inode, device and mode of the file are the same as when it was read. Only the
kernel sets the change time, so a file with other bytes but the same size and modification time is noticed. A file that
changed just before it was read gets no entry: a second change may come within the same tick of the clock.

The index only saves time: a missing, damaged or unwritable index is treated as empty.
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
RACY = 2_000_000_000  # nanoseconds; the coarsest file system clocks tick every two seconds

StatusKey = tuple[int, int, int, int, int, int]


class Index:
    """The index of one tree: the one called `name` in `directory`. With None for a directory, always empty."""

    def __init__(self, directory: Path | None, name: str) -> None:
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
        self._path = directory / f"{digest[:32]}.index" if directory else None
        self._old = _load(self._path) if self._path else {}
        self._new: dict[str, tuple[StatusKey, str]] = {}
        self._settling = Settling()

    def find(self, path: bytes, status: os.stat_result) -> bytes | None:
        """Return the digest of the file if its entry is valid, else None."""
        name = os.fsdecode(path)
        entry = self._old.get(name)
        if entry is None or entry[0] != status_key(status):
            return None
        self._new[name] = entry
        return bytes.fromhex(entry[1])

    def settle(self, descriptor: int) -> bool:
        """Return whether later changes of the open file will show in its times. Without a directory, return False."""
        return self._path is not None and self._settling.settle(descriptor, os.fstat(descriptor))

    def has(self, path: bytes) -> bool:
        """Return whether the file has an entry that was found or added during this scan."""
        return os.fsdecode(path) in self._new

    def add(self, path: bytes, status: os.stat_result, digest: bytes, *, read_at: int, settled: bool) -> None:
        """Add a file that was read from `read_at` (nanoseconds since 1970) on with an unchanged status.

        A file that is not settled is not added: it may change without a change of its status.
        """
        if settled and max(status.st_ctime_ns, status.st_mtime_ns) + RACY < read_at:
            self._new[os.fsdecode(path)] = (status_key(status), digest.hex())

    def save(self) -> None:
        """Write the entries that were found and added, if they differ from the file's."""
        if self._path is None or self._new == self._old:
            return
        with contextlib.suppress(OSError):
            json_cache.save(self._path, {"version": _VERSION, "files": self._new})


def status_key(status: os.stat_result) -> StatusKey:
    """Return size, modification time, change time, inode, device and mode."""
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
