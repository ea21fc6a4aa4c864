"""Files and directories that tasks return: where they arrive on this machine, and until when they are there.

Each run has a directory of its own, `<cache>/files/<owner>-<number>`. What is in it stays for as long as the program
that ran the task, and for a week after; of programs that have ended the oldest go first when all of them together are
more than 10 GiB. What a program was still receiving when it was killed goes with the next one that receives something.
`File.save` and `Dir.save` keep one elsewhere.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flyte_images_runtime.system.process_id import new_name, parse

from ..store.bounded_dir import BoundedDirectory
from ..store.cache_dir import cache_dir

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


def arrivals_in(directory: Path, *, kept: float = KEPT, largest: int = LARGEST) -> BoundedDirectory:
    """What has arrived in `directory`, and its bounds."""
    return BoundedDirectory(path=directory, unused=kept, largest=largest, claim=_claimed)


def forget(directory: Path, *, kept: float = KEPT, largest: int = LARGEST) -> None:
    """Remove what has been there long enough, and what programs were receiving when they were killed."""
    arrivals = arrivals_in(directory, kept=kept, largest=largest)
    for entry in arrivals.entries():
        owner = parse(entry.name)
        if owner is not None and owner.is_gone() and not (directory / entry.name / _WHOLE).exists():
            arrivals.remove(entry)
    arrivals.evict()


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """False while the program that ran the task goes on."""
    owner = parse(path.name)
    yield owner is not None and (not owner.is_here() or owner.is_gone())
