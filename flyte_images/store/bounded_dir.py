"""Bound a directory: remove entries that were not used for long, and the least recently used ones beyond a size.

An entry is a file, a directory, or several files that share a name. An entry that is in use always stays.
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
    """One thing that is kept. used: seconds since 1970; size: bytes; about: the image, task or packages, if known."""

    name: str
    paths: tuple[Path, ...]
    used: float
    size: int
    about: str = ""


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
    it is entered, whether the entry may be removed: False if the entry is in use. `measure` returns bytes,
    `about` the image, task or packages of an entry.
    """

    path: Path
    unused: float = math.inf
    largest: float = math.inf
    most: float = math.inf
    entry_of: Callable[[str], str | None] = lambda name: None if name.startswith(".") else name
    claim: Callable[[Path], AbstractContextManager[bool]] = _never_in_use
    measure: Callable[[Sequence[Path]], int] = size_of
    about: Callable[[Sequence[Path]], str] = lambda paths: ""

    def entries(self, *, measured: bool = True) -> list[Entry]:
        """Return the entries, the last used first. Without `measured`, sizes are 0 and `about` is empty."""
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
                size, about = (self.measure(paths), self.about(paths)) if measured else (0, "")
                found.append(Entry(name, tuple(paths), used, size, about))
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def evict(self) -> None:
        """Remove the entries beyond the bounds. Entries that are in use or cannot be removed stay, uncounted."""
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
        """Remove an entry. Its name goes first, so no process finds a part. Return False if the entry is in use."""
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
