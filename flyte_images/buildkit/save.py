"""An image of Docker's store -> the user's OCI layout, for a BuildKit that cannot see Docker's store."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from typing import IO, Any

from flyte_images_runtime.system.image_ref import Digest
from flyte_images_runtime.system.platform import Platform

from ..errors import EngineError
from ..store.oci_layout import Layout
from .address import Docker
from .engine_api import save_image

_BLOBS = "blobs/sha256/"
_CHUNK = 1 << 20


def save(docker: Docker, name: str, platform: str, layout: Layout) -> str | None:
    """Copy the image `name` for `platform` into the layout and return its manifest's digest; None if Docker lacks it.

    Blobs that the layout already has are not written again. Raises EngineError if Docker sends damaged blobs.
    """
    index = save_image(docker, name, lambda archive: _unpack(archive, layout))
    return None if index is None else _manifest(index, platform, layout)


def _unpack(archive: IO[bytes], layout: Layout) -> dict[str, Any]:
    """Write the archive's blobs to the layout and return index.json."""
    index: dict[str, Any] = {}
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is None:
                continue
            if member.name == "index.json":
                index = json.load(file)
            elif member.name.startswith(_BLOBS) and not layout.has(digest := _digest(member.name)):
                written = layout.put_chunks(_chunks(file), "").digest
                if written != digest:
                    layout.path(written).unlink()
                    raise EngineError(f"Docker sent bytes that do not match {digest}", hint="try again")
    if not index:
        raise EngineError("this Docker does not save images as OCI layouts", hint="Docker 25 or newer is needed")
    return index


def _manifest(index: dict[str, Any], platform: str, layout: Layout) -> str | None:
    """Return the first manifest for the platform whose blobs are all in the layout, or None."""
    for described in index.get("manifests", ()):
        digest = str(described["digest"])
        if not layout.has(digest):
            continue
        manifest = layout.manifest(digest)
        if "manifests" in manifest:
            if inner := _manifest(manifest, platform, layout):
                return inner
        elif layout.complete(digest) and Platform.parse(platform).fits(layout.config(digest)):
            return digest
    return None


def _digest(path: str) -> str:
    return str(Digest(path.removeprefix(_BLOBS)))


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk
