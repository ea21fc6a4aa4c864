"""The OCI layout of the cache directory: which blobs its records name, who uses them, and when they go.

A record in `oci/contexts` names a packed image of local files or of one package file; a record in `bases` names a base.
Blobs that no record names go, unless they are younger than ten minutes: a process may be about to name them. A process
that builds holds a shared lock on the layout, and nothing is removed while any process holds one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.system.atomic import private_directory

from . import json_cache
from .oci_layout import Layout

if TYPE_CHECKING:
    from .bounded_dir import BoundedDirectory

UNUSED = 30 * 86400.0  # seconds
LARGEST = 10 << 30  # bytes
_GRACE = 600.0  # seconds
_LOCK = ".lock"


@contextlib.contextmanager
def using_layout(cache: Path) -> Iterator[None]:
    """Keep all blobs of the layout below `cache` until the end."""
    descriptor = None
    with contextlib.suppress(OSError):  # a cache that cannot be written: nothing is removed from it either
        descriptor = _open(cache / "oci")
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextlib.contextmanager
def _unused_layout(layout: Path) -> Iterator[bool]:
    """Yield whether no process uses the layout. Until the end no process begins to."""
    descriptor = _open(layout)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def _open(layout: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(layout / _LOCK, flags, 0o600)
    except FileNotFoundError:
        private_directory(layout)
        return os.open(layout / _LOCK, flags, 0o600)


def packed_in(cache: Path, *, unused: float = UNUSED, largest: int = LARGEST) -> BoundedDirectory:
    """Return the packed local files and package files, one entry a record, and their bounds."""
    from .bounded_dir import BoundedDirectory  # a build that changes nothing needs none

    layout = cache / "oci"
    return BoundedDirectory(
        path=layout / "contexts",
        unused=unused,
        largest=largest,
        claim=lambda _: _unused_layout(layout),
        measure=lambda paths: _size(layout, paths),
    )


def bases_in(cache: Path) -> BoundedDirectory:
    """Return the records of bases, without bounds: only a person removes a base."""
    from .bounded_dir import BoundedDirectory

    layout = cache / "oci"
    return BoundedDirectory(
        path=cache / "bases",
        claim=lambda _: _unused_layout(layout),
        measure=lambda paths: _size(layout, paths),
    )


def remove_unnamed(cache: Path, *, grace: float = _GRACE) -> int:
    """Remove the blobs that no record names and that are older than `grace` seconds. Return their bytes.

    Remove nothing while a process uses the layout.
    """
    layout, total = Layout(cache / "oci"), 0
    with contextlib.suppress(OSError), _unused_layout(layout.directory) as is_free:
        if not is_free:
            return 0
        named = {path.name for digest in _named(cache) for path in _blobs(layout, digest)}
        for blob in (layout.directory / "blobs" / "sha256").iterdir():
            seen = blob.lstat()
            if blob.name not in named and seen.st_mtime < time.time() - grace:
                blob.unlink()
                total += seen.st_size
    return total


def _named(cache: Path) -> Iterator[str]:
    """Yield the digests of all manifests that a record names."""
    for path in (*(cache / "oci" / "contexts").glob("*.json"), *(cache / "bases").glob("*.json")):
        if digest := manifest_of(path):
            yield digest
    for path in (cache / "resolved").glob("toolchain-*.json"):
        if digest := manifest_of(path):
            yield digest
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        index = json.loads((cache / "oci" / "index.json").read_bytes())
        yield from (str(described["digest"]) for described in index["manifests"])


def manifest_of(record: Path) -> str:
    """Return the manifest's digest that a record names; empty for a damaged record, or one of an image elsewhere."""
    try:
        content: dict[str, Any] = json_cache.load(record)
        found = content.get("manifest") or (content.get("found") or content).get("digest") or ""
        return str(found["digest"] if isinstance(found, dict) else found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""


def _blobs(layout: Layout, digest: str) -> list[Path]:
    """Return the files of an image: manifest, configuration and layers. None for an image that is not here."""
    parts = layout.parts(digest)
    return [layout.path(digest), *(layout.path(part["digest"]) for part in parts)] if parts else []


def _size(layout: Path, records: Sequence[Path]) -> int:
    """Return the bytes of the blobs that the records name."""
    paths = {path for record in records for path in _blobs(Layout(layout), manifest_of(record))}
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total
