"""Write the image around a packed layer, and a record by which the same contents find it again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from flyte_images_layers.record import record
from flyte_images_layers.steps import EPOCH

from ..errors import FlyteImagesError
from ..store import json_cache
from ..store.oci_layout import LAYER_TAR, Descriptor, Layer, Layout
from .layer import Blob

PLATFORM = "linux/amd64"
"""The platform in the manifests, which need one. Files fit every platform: name this one in the source operation."""


@record
class Packed:
    """An image of one layer in an OCI layout. `contents`: the digests of the packed sources."""

    manifest: str
    layer: Blob
    contents: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the reference for `llb.oci_layout`."""
        return f"local/context@{self.manifest}"


def put_image(directory: Path, layer: Blob, contents: Sequence[str], destinations: Sequence[bytes]) -> Packed:
    """Write the image of a layer, and the record of its contents."""
    from datetime import UTC, datetime  # loaded only for packing

    os_name, architecture = PLATFORM.split("/")
    config = {
        "architecture": architecture,
        "os": os_name,
        "config": {},
        "created": datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    layer_of_image = Layer(Descriptor(LAYER_TAR, layer.digest, layer.size), layer.digest)
    packed = Packed(Layout(directory).put_image([layer_of_image], config).digest, layer, tuple(contents))
    record = {"manifest": packed.manifest, "layer": layer.digest, "size": layer.size}
    with contextlib.suppress(OSError):  # the record only saves time
        json_cache.save(_record(directory, contents, destinations), record)
    return packed


def find_record(directory: Path, contents: Sequence[str], destinations: Sequence[bytes]) -> Packed | None:
    """Return the image of these contents if the layout holds all of it, else None."""
    try:
        path = _record(directory, contents, destinations)
        record = json_cache.load(path)
        os.utime(path)  # the last use, by which store/blobs.py decides what to remove
        packed = Packed(record["manifest"], Blob(record["layer"], record["size"]), tuple(contents))
        return packed if Layout(directory).complete(packed.manifest) else None
    except (FlyteImagesError, OSError, ValueError, LookupError, TypeError):  # a damaged record counts as missing
        return None


def _record(directory: Path, contents: Sequence[str], destinations: Sequence[bytes]) -> Path:
    state = hashlib.sha256()
    for part in (item for pair in zip(contents, destinations, strict=True) for item in pair):
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8) + data)
    return directory / "contexts" / f"{state.hexdigest()}.json"
