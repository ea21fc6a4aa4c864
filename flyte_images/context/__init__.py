"""Local files -> a content-addressed OCI layer, and the digest by which it is known beforehand.

    content = digest(Source("/home/me/project", "/app"))    # reads only what changed since the last time
    packed = pack([Source("/home/me/project", "/app")], directory)
    packed.contents == (content,)                           # unless someone wrote to the folder in between

A folder's `.dockerignore` holds, with the rules of Docker; before it hold those of `DEFAULT_IGNORE`, after it those
that the caller gives. Equal contents at equal destinations give equal bytes, on any machine and any day.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from flyte_images_layers import Layer
from flyte_images_layers.record import record

from ..errors import Location, SpecError
from ..store.cache_dir import cache_dir
from ..store.oci_layout import LAYER_TAR, Layout
from .file_index import Index
from .ignore import DEFAULT_IGNORE
from .layer import EPOCH, Blob, NotWritten, Placed, place, write
from .store import PLATFORM, Packed, find_record, put_image
from .tree import is_known, read_all, scan, tree_digest

__all__ = ["DEFAULT_IGNORE", "EPOCH", "PLATFORM", "Packed", "Source", "content_digests", "digest", "pack"]


@record
class Source:
    """A file or folder of this machine and the absolute path that it, or what is in the folder, gets in the image.

    `ignore` are patterns as in a `.dockerignore`, which may take back (`!...`) what earlier ones leave out.
    """

    path: str | os.PathLike[str]
    destination: str
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.destination.startswith("/") or ".." in self.destination.split("/") or "\0" in self.destination:
            raise SpecError(
                f"`{self.destination}` is not an absolute path in the image", hint="it begins with / and has no `..`"
            )

    def __str__(self) -> str:
        return f"{os.fspath(self.path)} -> {self.destination}"


def digest(source: Source, *, cache: Path | None = None) -> str:
    """Return the digest of what is in a file or folder: paths, contents, x bits, links; not where it goes.

    `cache` is where it is remembered which files have been read (default: the user's cache directory).
    """
    index, tree = _index(source, cache), scan(source.path, source.ignore)
    if not is_known(tree, index):
        read_all(tree, index)
    index.save()
    return tree_digest(tree)


def content_digests(layer: Layer, *, cache: Path | None = None) -> tuple[str, ...]:
    """Return the digests of the local sources of a layer, in its order; errors name the line that asked for it."""
    try:
        return tuple(
            digest(Source(source.path, "/", tuple(source.patterns)), cache=cache) for source in layer.local_sources()
        )
    except SpecError as error:
        if isinstance(layer.location, Location) and error.location is None:
            error.location = layer.location
        raise


def pack(sources: Sequence[Source], directory: Path, *, cache: Path | None = None) -> Packed:
    """Write the sources as the one layer of an image into the OCI layout `directory`, which may be shared and grow.

    What is there already is found by its content, without reading files again. `Packed.contents` is what was packed:
    where files change at the same time it differs from what `digest` said before, and the caller has to compare.
    """
    indexes = [_index(source, cache) for source in sources]  # first: this marks the cache, which may be in a source
    found = [(scan(source.path, source.ignore), source, index) for source, index in zip(sources, indexes, strict=True)]
    destinations = [os.fsencode(posixpath.normpath(source.destination)) for source in sources]
    if all(is_known(tree, index) for tree, _, index in found):
        contents = tuple(tree_digest(tree) for tree, _, _ in found)
        packed = find_record(directory, contents, destinations)
        if packed is not None:
            return packed
    layout = place([(tree, to, index) for (tree, _, index), to in zip(found, destinations, strict=True)])
    layer = _put_layer(directory, layout)
    for _, _, index in found:
        index.save()
    return put_image(directory, layer, tuple(tree_digest(tree) for tree, _, _ in found), destinations)


def _put_layer(directory: Path, placed: Sequence[Placed]) -> Blob:
    def fill(file: BinaryIO) -> str:
        try:
            return write(placed, file).digest
        except NotWritten as failed:
            raise failed.error from None

    described = Layout(directory).put_filled(fill, LAYER_TAR)
    return Blob(described.digest, described.size)


def _index(source: Source, cache: Path | None) -> Index:
    folder = cache or _cache_directory()
    name = "\0".join((str(Path(source.path).absolute()), *source.ignore))
    return Index(folder / "context" if folder else None, name)


def _cache_directory() -> Path | None:
    try:
        return cache_dir(os.environ)
    except SpecError:  # the index saves time and nothing else; without a place for it there is none
        return None
