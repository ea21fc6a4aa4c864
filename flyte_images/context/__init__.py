"""Local files -> a content-addressed OCI layer, and the digest that is known before packing.

    content = digest(Source("/home/me/project", "/app"))    # reads only files that changed since the last call
    packed = pack([Source("/home/me/project", "/app")], directory)
    packed.contents == (content,)                           # unless the folder changed in between

The ignore rules are `DEFAULT_IGNORE`, then the folder's `.dockerignore`, then the caller's patterns, with the semantics
of Docker. Equal contents at equal destinations give equal bytes, on any machine and any day.
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
from .layer import Blob, LayerEntry, NotWritten, arrange, write
from .packed_image import PLATFORM, Packed, find_record, put_image
from .tree import is_known, read_all, scan, tree_digest

__all__ = ["DEFAULT_IGNORE", "PLATFORM", "Packed", "Source", "content_digests", "digest", "pack"]


@record
class Source:
    """A local file or folder, and its absolute path in the image: of the file, or of the folder's contents.

    `ignore`: patterns as in a `.dockerignore`; `!...` includes paths again that earlier patterns exclude.
    """

    path: str | os.PathLike[str]
    destination: str
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.destination.startswith("/") or ".." in self.destination.split("/") or "\0" in self.destination:
            raise SpecError(
                f"`{self.destination}` is not an absolute path in the image", hint="begin it with / and leave out `..`"
            )

    def __str__(self) -> str:
        return f"{os.fspath(self.path)} -> {self.destination}"


def digest(source: Source, *, cache: Path | None = None) -> str:
    """Return the digest of a file or folder: paths, contents, x bits and links, without the destination.

    `cache`: directory of the index of files that were read (default: the user's cache directory). Raise SpecError if a
    file cannot be read.
    """
    index, tree = _index(source, cache), scan(source.path, source.ignore)
    if not is_known(tree, index):
        read_all(tree, index)
    index.save()
    return tree_digest(tree)


def content_digests(layer: Layer, *, cache: Path | None = None) -> tuple[str, ...]:
    """Return the digests of the local sources of a layer, in order. Errors carry the line of the layer."""
    try:
        return tuple(
            digest(Source(source.path, "/", tuple(source.patterns)), cache=cache) for source in layer.local_sources()
        )
    except SpecError as error:
        if isinstance(layer.location, Location) and error.location is None:
            error.location = layer.location
        raise


def pack(sources: Sequence[Source], directory: Path, *, cache: Path | None = None) -> Packed:
    """Write the sources as an image of one layer into the OCI layout `directory`, which other processes may share.

    An image of the same contents is found without reading files again. `Packed.contents` are the digests of the packed
    files: if files change meanwhile they differ from an earlier `digest`, so the caller must compare them.
    """
    indexes = [
        _index(source, cache) for source in sources
    ]  # first, as this marks the cache directory, which may be inside a source
    trees = [(scan(source.path, source.ignore), source, index) for source, index in zip(sources, indexes, strict=True)]
    destinations = [os.fsencode(posixpath.normpath(source.destination)) for source in sources]
    if all(is_known(tree, index) for tree, _, index in trees):
        contents = tuple(tree_digest(tree) for tree, _, _ in trees)
        packed = find_record(directory, contents, destinations)
        if packed is not None:
            return packed
    entries = arrange([(tree, to, index) for (tree, _, index), to in zip(trees, destinations, strict=True)])
    layer = _put_layer(directory, entries)
    for _, _, index in trees:
        index.save()
    return put_image(directory, layer, tuple(tree_digest(tree) for tree, _, _ in trees), destinations)


def _put_layer(directory: Path, entries: Sequence[LayerEntry]) -> Blob:
    def fill(file: BinaryIO) -> str:
        try:
            return write(entries, file).digest
        except NotWritten as failure:
            raise failure.error from None

    descriptor = Layout(directory).put_filled(fill, LAYER_TAR)
    return Blob(descriptor.digest, descriptor.size)


def _index(source: Source, cache: Path | None) -> Index:
    folder = cache or _cache_directory()
    name = "\0".join((str(Path(source.path).absolute()), *source.ignore))
    return Index(folder / "context" if folder else None, name)


def _cache_directory() -> Path | None:
    try:
        return cache_dir(os.environ)
    except SpecError:  # the index only saves time; without a cache directory there is no index
        return None
