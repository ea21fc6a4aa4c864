"""Find and remove leftovers of killed processes in the cache directory and in TMPDIR.

The name of each temporary directory and of each partial file holds the id of the process that makes it
(system/process_id.py of the runtime), so nothing of a running process is touched.
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
    """Make a directory in TMPDIR for this user alone. It is removed at the end; after a kill, at the next start."""
    path = temporary_path(kind)
    path.mkdir(mode=0o700)
    try:
        yield str(path)
    finally:
        atomic.remove(path)


def temporary_path(kind: str) -> Path:
    """Return a new path in TMPDIR that `remove_leftovers` finds after a kill. kind: lower-case letters."""
    suffix = os.urandom(4).hex()  # random, so that another user cannot make the directory first
    import tempfile  # loaded only where a directory is made: every start imports this module

    return Path(tempfile.gettempdir()) / f"flyte-images-{kind}-{new_name()}-{suffix}"


def remove_leftovers(cache: Path) -> int:
    """Remove leftovers of ended processes in the cache and in TMPDIR. Return their number."""
    count = sum(atomic.sweep(cache / name) for name in (*_BELOW, *_BELOW_ROOTFS))
    directory = os.environ.get("TMPDIR") or "/tmp"
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):  # noqa: PTH208 - names alone: the directory may be large
            mark = _TEMPORARY.match(name)
            if mark and _is_left(f"{directory}/{name}", name[mark.end() :]):
                atomic.remove(Path(directory, name))
                count += 1
    return count


def _is_left(path: str, name: str) -> bool:
    owner = parse(name)
    with contextlib.suppress(OSError):
        return owner is not None and owner.is_gone() and os.lstat(path).st_uid == os.geteuid()
    return False
