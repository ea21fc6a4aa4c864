"""Artifacts, the files and directories that tasks return: where this machine receives them, and when they go.

Each run has the directory `<cache>/files/<owner>-<number>`. Its content stays as long as the program that ran the task,
and for a week after. When the artifacts of ended programs are together more than 10 GiB, the oldest go first. A
directory whose program was killed before everything had arrived goes as soon as any program has received an artifact.
`File.save` and `Dir.save` copy an artifact to another place.
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

UNUSED = 7 * 86400.0  # seconds
LARGEST = 10 << 30  # bytes
_COMPLETE = ".whole"


@dataclass(frozen=True, slots=True)
class ArtifactDir:
    """The directory for the artifacts of one run. It is made when the first artifact arrives."""

    path: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> ArtifactDir:
        """Return a new directory below the cache directory that the variables name."""
        return cls(cache_dir(environ) / "files" / new_name())

    def commit(self) -> None:
        """Mark the directory as complete, and remove artifacts that are beyond the bounds."""
        if self.path.is_dir():
            (self.path / _COMPLETE).touch()
            prune(self.path.parent)

    def discard(self) -> None:
        """Remove the directory, and its parent if that is then empty."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()


def artifacts_in(directory: Path, *, unused: float = UNUSED, largest: int = LARGEST) -> BoundedDirectory:
    """Return the artifacts in `directory`, with their bounds in seconds and bytes."""
    return BoundedDirectory(path=directory, unused=unused, largest=largest, claim=_claim)


def prune(directory: Path, *, unused: float = UNUSED, largest: int = LARGEST) -> None:
    """Remove artifacts that are beyond the bounds, and incomplete ones whose program has ended."""
    artifacts = artifacts_in(directory, unused=unused, largest=largest)
    for entry in artifacts.entries():
        owner = parse(entry.name)
        if owner is not None and owner.is_gone() and not (directory / entry.name / _COMPLETE).exists():
            artifacts.remove(entry)
    artifacts.evict()


@contextlib.contextmanager
def _claim(path: Path) -> Iterator[bool]:
    """Yield False while the program that ran the task runs."""
    owner = parse(path.name)
    yield owner is not None and (not owner.is_here() or owner.is_gone())
