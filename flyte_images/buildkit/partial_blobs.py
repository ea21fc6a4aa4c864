"""A blob of which the engine has got the first part only -> one that it has whole, or not at all.

BuildKit keeps what has come of a blob when a transfer breaks off, and the next one begins behind that. For blobs of
`oci-layout://` sources it cannot do so: each build that needs one ends with "unsupported offset", until the engine
forgets the first part after an hour. So a Docker Engine is given the blob by another way, as part of an image; any
other BuildKit forgets when it prunes, whatever there is to prune.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EngineError
from ..llb.pb import ops_pb2
from ..store.oci_layout import Layout
from .address import Docker

if TYPE_CHECKING:
    from .client import Client

_SCHEME = "oci-layout://"


def layouts_of(definition: bytes, stores: Mapping[str, Path], unread: frozenset[str]) -> tuple[tuple[Path, str], ...]:
    """The images, as layout and manifest, that a graph takes from `stores` and that have one of the layers `unread`."""
    found: dict[tuple[Path, str], None] = {}
    for data in getattr(ops_pb2.Definition.FromString(definition), "def"):
        source = ops_pb2.Op.FromString(data).source
        directory = stores.get(source.attrs.get("oci.store", ""))
        if source.identifier.startswith(_SCHEME) and directory is not None:
            digest = source.identifier.partition("@")[2]
            if unread & {str(part["digest"]) for part in Layout(directory).parts(digest)}:
                found[directory, digest] = None
    return tuple(found)


@contextlib.contextmanager
def unstick(client: Client, images: Sequence[tuple[Path, str]]) -> Iterator[None]:
    """Until the end of this the engine has these images whole, or has nothing of them."""
    from .engine_api import load_image, remove_image

    if not isinstance(client.address, Docker):
        client.prune("id==none")
        yield
        return
    names = []
    try:
        for directory, digest in images:
            names.append(f"docker.io/library/flyte-images-transfer:{secrets.token_hex(8)}")
            load_image(client.address, Layout(directory).archive(digest, names[-1]))
        yield
    finally:
        for name in names:
            with contextlib.suppress(EngineError):  # it is gone: that is told where the build is
                remove_image(client.address, name)
