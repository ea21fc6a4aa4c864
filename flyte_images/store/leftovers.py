"""What a killed process left behind in the cache and among temporary files: found by its owner's mark, and removed.

Every temporary directory and every file that is being written bears the mark of the process that makes it (owner.py of
the runtime), so nothing of a process that still works is touched.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from flyte_images_runtime.system import atomic
from flyte_images_runtime.system.process_id import new_name, parse

_TEMPORARY = re.compile(r"flyte-images-[a-z]+-(?=[0-9a-f]{8}-[0-9]+-[0-9]+-[0-9]+)")
_BELOW = ("", "bases", "code", "context", "files", "logs", "oci", "oci/contexts", "resolved", "results")
_BELOW_ROOTFS = ("rootfs", "rootfs/layers")


@contextlib.contextmanager
def temporary_directory(kind: str) -> Iterator[str]:
    """Make a directory in TMPDIR for this user alone, which is gone at the end, or at the next start after a kill."""
    path = temporary_path(kind)
    path.mkdir(mode=0o700)
    try:
        yield str(path)
    finally:
        atomic.remove(path)


def temporary_path(kind: str) -> Path:
    """Return a new path in TMPDIR that `remove_leftovers` finds after a kill. kind: lower-case letters."""
    unknown = os.urandom(4).hex()  # another user cannot make the directory first
    import tempfile  # loaded where something is made: each start of the product looks here

    return Path(tempfile.gettempdir()) / f"flyte-images-{kind}-{new_name()}-{unknown}"


def remove_leftovers(cache: Path) -> int:
    """Remove what processes that have ended left in the cache and in TMPDIR. Return how many things there were."""
    count = sum(atomic.sweep(cache / name) for name in (*_BELOW, *_BELOW_ROOTFS))
    place = os.environ.get("TMPDIR") or "/tmp"
    with contextlib.suppress(OSError):
        for name in os.listdir(place):  # noqa: PTH208 - names alone: the directory may be large
            mark = _TEMPORARY.match(name)
            if mark and _is_left(f"{place}/{name}", name[mark.end() :]):
                atomic.remove(Path(place, name))
                count += 1
    return count


def _is_left(path: str, name: str) -> bool:
    owner = parse(name)
    with contextlib.suppress(OSError):
        return owner is not None and owner.is_gone() and os.lstat(path).st_uid == os.geteuid()
    return False
