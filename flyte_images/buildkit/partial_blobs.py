"""Recover from partly transferred blobs, which make BuildKit fail with `unsupported offset`.

BuildKit keeps the received part of a blob when a transfer breaks off, and continues the next transfer after that part.
For blobs of `oci-layout://` sources BuildKit cannot continue: each build that needs the blob ends with "unsupported
offset", until the engine forgets the part after an hour. So a Docker Engine receives the whole blob in another way, as
part of an image; any other BuildKit forgets the part when it prunes, whatever it prunes.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from flyte_images_runtime.system.image_ref import ImageRef

from ..errors import EngineError
from ..llb.pb import ops_pb2
from ..store.oci_layout import Layout
from .address import Address, Docker

_SCHEME = "oci-layout://"


class Engine(Protocol):
    """The part of a client that this module needs."""

    @property
    def address(self) -> Address: ...
    def prune(self, *filters: str) -> object: ...


def layouts_of(definition: bytes, stores: Mapping[str, Path], unread: frozenset[str]) -> tuple[tuple[Path, str], ...]:
    """Return the images, as layout and manifest digest, that a graph takes from `stores` and that have a layer of
    `unread`."""
    images: dict[tuple[Path, str], None] = {}
    for data in getattr(ops_pb2.Definition.FromString(definition), "def"):
        source = ops_pb2.Op.FromString(data).source
        directory = stores.get(source.attrs.get("oci.store", ""))
        if source.identifier.startswith(_SCHEME) and directory is not None:
            digest = ImageRef.parse(source.identifier.removeprefix(_SCHEME)).digest
            if unread & {str(part["digest"]) for part in Layout(directory).parts(digest)}:
                images[directory, digest] = None
    return tuple(images)


@contextlib.contextmanager
def unstick(engine: Engine, images: Sequence[tuple[Path, str]]) -> Iterator[None]:
    """Make the engine have all of these images' blobs, or none of them, until the context ends."""
    from .engine_api import load_image, remove_image

    if not isinstance(engine.address, Docker):
        engine.prune("id==none")
        yield
        return
    names = []
    try:
        for directory, digest in images:
            names.append(f"docker.io/library/flyte-images-transfer:{secrets.token_hex(8)}")
            load_image(engine.address, Layout(directory).archive(digest, names[-1]))
        yield
    finally:
        for name in names:
            with contextlib.suppress(EngineError):  # the engine is gone: the build reports that
                remove_image(engine.address, name)
