"""A directory whose entries go when they were not used for long, or when they are too many or too large.

An entry is a file, a directory, or some files with one name between them. The entries that were used last stay, and
those that are in use.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from flyte_images_runtime.system.atomic import partial_path


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that is kept. used: seconds since 1970; size: bytes."""

    name: str
    paths: tuple[Path, ...]
    used: float
    size: int


def size_of(paths: Sequence[Path]) -> int:
    """Return the bytes in files and directories."""
    total = 0
    for path in paths:
        if not path.is_dir():
            with contextlib.suppress(OSError):
                total += path.lstat().st_size
        for place, _, files in os.walk(path):
            for name in files:
                with contextlib.suppress(OSError):
                    total += os.lstat(f"{place}/{name}").st_size
    return total


@contextlib.contextmanager
def _never_in_use(_: Path) -> Iterator[bool]:
    yield True


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedDirectory:
    """A directory and its bounds.

    unused: seconds after which an entry goes; largest: bytes of all entries; most: their number. `entry_of` returns the
    name of the entry that a file or directory belongs to, None for what is not an entry. `claim` gives, for as long as
    it is entered, whether the entry may be removed: False if the entry is in use.
    """

    path: Path
    unused: float = math.inf
    largest: float = math.inf
    most: float = math.inf
    entry_of: Callable[[str], str | None] = lambda name: None if name.startswith(".") else name
    claim: Callable[[Path], AbstractContextManager[bool]] = _never_in_use
    measure: Callable[[Sequence[Path]], int] = size_of

    def entries(self, *, measured: bool = True) -> list[Entry]:
        """Return what is there, the entry that was used last first. Without `measured` the sizes are 0."""
        groups: dict[str, list[Path]] = {}
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(self.path)):  # noqa: PTH208
                entry = self.entry_of(name)
                if entry is not None:
                    groups.setdefault(entry, []).append(self.path / name)
        found = []
        for name, paths in groups.items():
            with contextlib.suppress(OSError):  # another process removes it
                used = max(path.lstat().st_mtime for path in paths)
                found.append(Entry(name, tuple(paths), used, self.measure(paths) if measured else 0))
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def evict(self) -> None:
        """Remove what is beyond the bounds. What is in use, or cannot be removed, stays and does not count."""
        entries = self.entries(measured=self.largest < math.inf)
        oldest = time.time() - self.unused
        if not entries or (self._fits(entries) and entries[-1].used >= oldest):
            return
        size = count = 0
        for entry in entries:
            if not self._is_free(entry):
                continue
            if entry.used >= oldest and size + entry.size <= self.largest and count < self.most:
                size, count = size + entry.size, count + 1
            else:
                self.remove(entry)

    def _fits(self, entries: Sequence[Entry]) -> bool:
        return len(entries) <= self.most and sum(entry.size for entry in entries) <= self.largest

    def _is_free(self, entry: Entry) -> bool:
        try:
            with self.claim(entry.paths[0]) as is_free:
                return is_free
        except OSError:
            return False

    def remove(self, entry: Entry) -> bool:
        """Remove an entry: its name at once, so that nobody finds a part of it. Return False if it is in use."""
        try:
            with self.claim(entry.paths[0]) as is_free:
                if not is_free:
                    return False
                with contextlib.ExitStack() as removed_at_the_end:
                    for path in entry.paths:
                        path.rename(removed_at_the_end.enter_context(partial_path(self.path)))
        except OSError:
            return False
        return True
