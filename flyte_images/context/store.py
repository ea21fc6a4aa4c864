"""Blobs, the image around a layer, and the record of what was packed, in an OCI layout on this machine.

A blob has its name only when it is whole. Two processes may write the same at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from flyte_images_layers.records import dataclass

from ..errors import FlyteImagesError
from .layer import EPOCH, Blob

PLATFORM = "linux/amd64"
"""What the manifests say, as they have to say something. Files are for every platform: give this one to the source."""

_OCI = "application/vnd.oci"


@dataclass(frozen=True, slots=True)
class Packed:
    """An image of one layer in an OCI layout. `contents` are the digests of what was packed, a source each."""

    manifest: str
    layer: Blob
    contents: tuple[str, ...]

    @property
    def name(self) -> str:
        """What `llb.oci_layout` takes."""
        return f"local/context@{self.manifest}"


def write_blob(directory: Path, fill: Callable[[BinaryIO], Blob]) -> Blob:
    """Let `fill` write to an empty file, and give that the name which `fill` returns."""
    folder = directory / "blobs" / "sha256"
    temporary = folder / f".partial-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(temporary, "x+b") as file:
            blob = fill(file)
            file.flush()
            os.fsync(file.fileno())  # a name that survives a crash must not stand for half a blob
        temporary.rename(_blob(directory, blob.digest))
    except OSError as error:
        raise FlyteImagesError(
            f"`{directory}` cannot be written: {error.strerror}", hint="make room there, or check its permissions"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return blob


def put_image(directory: Path, layer: Blob, contents: Sequence[str], destinations: Sequence[bytes]) -> Packed:
    """Write the image of a layer and the record of what it was made from."""
    from datetime import UTC, datetime  # loaded where something is packed

    os_name, architecture = PLATFORM.split("/")
    config = {
        "architecture": architecture,
        "os": os_name,
        "config": {},
        "created": datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.image.manifest.v1+json",
        "config": _descriptor(_put_json(directory, config), "image.config.v1+json"),
        "layers": [_descriptor(layer, "image.layer.v1.tar")],
    }
    packed = Packed(_put_json(directory, manifest).digest, layer, tuple(contents))
    record = {"manifest": packed.manifest, "layer": layer.digest, "size": layer.size}
    place = _record(directory, contents, destinations)
    temporary = place.with_name(f".partial-{os.getpid()}-{os.urandom(4).hex()}")
    with contextlib.suppress(OSError):  # it only saves the next one some time
        place.parent.mkdir(exist_ok=True)
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.rename(place)
    _mark(directory)
    return packed


def find_record(directory: Path, contents: Sequence[str], destinations: Sequence[bytes]) -> Packed | None:
    """The image that was made from these contents, if all of it is still there."""
    try:
        record = json.loads(_record(directory, contents, destinations).read_bytes())
        packed = Packed(record["manifest"], Blob(record["layer"], record["size"]), tuple(contents))
        manifest = _blob(directory, packed.manifest).read_bytes()
        named = json.loads(manifest)
        parts = [named["config"], *named["layers"]]
        whole = all(_blob(directory, part["digest"]).stat().st_size == part["size"] for part in parts)
    except (OSError, ValueError, LookupError, TypeError):  # damaged: as good as none
        return None
    return packed if whole and f"sha256:{hashlib.sha256(manifest).hexdigest()}" == packed.manifest else None


def _record(directory: Path, contents: Sequence[str], destinations: Sequence[bytes]) -> Path:
    state = hashlib.sha256()
    for part in (item for pair in zip(contents, destinations, strict=True) for item in pair):
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8) + data)
    return directory / "contexts" / f"{state.hexdigest()}.json"


def _put_json(directory: Path, value: Mapping[str, object]) -> Blob:
    data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    blob = Blob(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))

    def fill(file: BinaryIO) -> Blob:
        file.write(data)
        return blob

    return write_blob(directory, fill)


def _descriptor(blob: Blob, media_type: str) -> dict[str, object]:
    return {"mediaType": f"{_OCI}.{media_type}", "digest": blob.digest, "size": blob.size}


def _mark(directory: Path) -> None:
    """Say that this is an OCI layout."""
    marker = directory / "oci-layout"
    if not marker.exists():
        marker.write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")


def _blob(directory: Path, digest: str) -> Path:
    return directory / "blobs" / Path(*digest.split(":"))
