"""A blob of which the engine has got the first part only -> one that it has whole, or not at all.

BuildKit keeps what has come of a blob when a transfer breaks off, and the next one begins behind that. For blobs of
`oci-layout://` sources it cannot do so: each build that needs one ends with "unsupported offset", until the engine
forgets the first part after an hour. So a Docker Engine is given the blob by another way, as part of an image; any
other BuildKit forgets when it prunes, whatever there is to prune.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EngineError
from ..llb.pb import ops_pb2
from .address import Docker

if TYPE_CHECKING:
    from .client import Client

_SCHEME = "oci-layout://"
_CHUNK = 1 << 20


def layouts_of(definition: bytes, stores: Mapping[str, Path], unread: frozenset[str]) -> tuple[tuple[Path, str], ...]:
    """The images, as layout and manifest, that a graph takes from `stores` and that have one of the layers `unread`."""
    found: dict[tuple[Path, str], None] = {}
    for data in getattr(ops_pb2.Definition.FromString(definition), "def"):
        source = ops_pb2.Op.FromString(data).source
        directory = stores.get(source.attrs.get("oci.store", ""))
        if source.identifier.startswith(_SCHEME) and directory is not None:
            digest = source.identifier.partition("@")[2]
            if unread & {str(part["digest"]) for part in _parts(directory, digest)}:
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
            load_image(client.address, _archive(directory, digest, names[-1]))
        yield
    finally:
        for name in names:
            with contextlib.suppress(EngineError):  # it is gone: that is told where the build is
                remove_image(client.address, name)


def _archive(directory: Path, digest: str, name: str) -> Iterator[bytes]:
    """The tarball of a layout with one image."""
    import tarfile

    def header(path: str, size: int) -> bytes:
        entry = tarfile.TarInfo(path)
        entry.size = size
        return entry.tobuf()

    manifest = _blob(directory, digest).read_bytes()
    media_type = json.loads(manifest).get("mediaType", "application/vnd.oci.image.manifest.v1+json")
    descriptor = {
        "mediaType": media_type,
        "digest": digest,
        "size": len(manifest),
        "annotations": {"io.containerd.image.name": name},
    }
    small = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [descriptor]}).encode(),
        f"blobs/sha256/{digest.removeprefix('sha256:')}": manifest,
    }
    for path, data in small.items():
        yield header(path, len(data)) + data + bytes(-len(data) % 512)
    for part in _parts(directory, digest):
        blob = _blob(directory, part["digest"])
        with blob.open("rb") as file:
            size = blob.stat().st_size
            yield header(f"blobs/sha256/{blob.name}", size)
            while chunk := file.read(_CHUNK):
                yield chunk
            yield bytes(-size % 512)
    yield bytes(1024)


def _parts(directory: Path, digest: str) -> list[dict[str, str]]:
    """The descriptors of an image's configuration and layers; none where its manifest cannot be read."""
    try:
        manifest = json.loads(_blob(directory, digest).read_bytes())
        return [manifest["config"], *manifest["layers"]]
    except (OSError, ValueError, LookupError):
        return []


def _blob(directory: Path, digest: str) -> Path:
    return directory / "blobs" / "sha256" / digest.removeprefix("sha256:")
