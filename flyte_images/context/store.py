"""The image around a packed layer and the record of what was packed, in an OCI layout on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from flyte_images_layers.record import record

from ..errors import FlyteImagesError
from ..store import json_cache
from ..store.oci_layout import LAYER_TAR, Descriptor, Layer, Layout
from .layer import EPOCH, Blob

PLATFORM = "linux/amd64"
"""What the manifests say, as they have to say something. Files are for every platform: give this one to the source."""


@record
class Packed:
    """An image of one layer in an OCI layout. `contents` are the digests of what was packed, a source each."""

    manifest: str
    layer: Blob
    contents: tuple[str, ...]

    @property
    def name(self) -> str:
        """What `llb.oci_layout` takes."""
        return f"local/context@{self.manifest}"


def put_image(directory: Path, layer: Blob, contents: Sequence[str], destinations: Sequence[bytes]) -> Packed:
    """Write the image of a layer and the record of what it was made from."""
    from datetime import UTC, datetime  # loaded where something is packed

    os_name, architecture = PLATFORM.split("/")
    config = {
        "architecture": architecture,
        "os": os_name,
        "config": {},
        "created": datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    described = Layer(Descriptor(LAYER_TAR, layer.digest, layer.size), layer.digest)
    packed = Packed(Layout(directory).put_image([described], config).digest, layer, tuple(contents))
    record = {"manifest": packed.manifest, "layer": layer.digest, "size": layer.size}
    with contextlib.suppress(OSError):  # it only saves the next one some time
        json_cache.save(_record(directory, contents, destinations), record)
    return packed


def find_record(directory: Path, contents: Sequence[str], destinations: Sequence[bytes]) -> Packed | None:
    """Return the image that was made from these contents, if all of it is still there."""
    try:
        path = _record(directory, contents, destinations)
        record = json_cache.load(path)
        os.utime(path)  # its last use, by which the record is kept or goes (store/blobs.py)
        packed = Packed(record["manifest"], Blob(record["layer"], record["size"]), tuple(contents))
        return packed if Layout(directory).complete(packed.manifest) else None
    except (FlyteImagesError, OSError, ValueError, LookupError, TypeError):  # damaged: as good as none
        return None


def _record(directory: Path, contents: Sequence[str], destinations: Sequence[bytes]) -> Path:
    state = hashlib.sha256()
    for part in (item for pair in zip(contents, destinations, strict=True) for item in pair):
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8) + data)
    return directory / "contexts" / f"{state.hexdigest()}.json"
