"""Files and directories that tasks return: where they arrive on this machine, and until when they are there.

Each run has a directory of its own, `<cache>/files/<owner>-<number>`. What is in it stays for as long as the program
that ran the task, and for a week after; of programs that have ended the oldest go first when all of them together are
more than 10 GiB. What a program was still receiving when it was killed goes with the next one that receives something.
`File.save` and `Dir.save` keep one elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flyte_images_runtime.owner import new_name, parse

from .store.cache_dir import cache_dir

KEPT = 7 * 86400.0  # seconds
LARGEST = 10 << 30  # bytes
_WHOLE = ".whole"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One run's directory; it is made when the first file comes."""

    path: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Arrival:
        return cls(cache_dir(environ) / "files" / new_name())

    def whole(self) -> None:
        """All of it has come."""
        if self.path.is_dir():
            (self.path / _WHOLE).touch()
            forget(self.path.parent)

    def discard(self) -> None:
        """Nobody needs it."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):  # the last one takes the directory of all of them along
            self.path.parent.rmdir()


def forget(directory: Path, *, kept: float = KEPT, largest: int = LARGEST) -> None:
    """Remove what has been there long enough, and what nobody can know of."""
    finished: list[tuple[float, Path]] = []
    for path in _entries(directory):
        owner = parse(path.name)
        if owner is None or (owner.is_here() and not owner.is_gone()):
            continue
        with contextlib.suppress(OSError):
            came = path.stat().st_mtime
            if time.time() - came > kept or (owner.is_gone() and not (path / _WHOLE).exists()):
                shutil.rmtree(path, ignore_errors=True)
            else:
                finished.append((came, path))
    room = largest
    for _, path in sorted(finished, reverse=True):
        room -= _size(path)
        if room < 0:
            shutil.rmtree(path, ignore_errors=True)


def _entries(directory: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from sorted(directory.iterdir())


def _size(path: Path) -> int:
    total = 0
    for place, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(Path(place) / name).st_size
    return total
