"""An image of Docker's store -> the user's OCI layout, for a BuildKit that is not Docker's own and cannot see it."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from typing import IO, Any

from flyte_images_runtime.system.platform import Platform

from ..errors import EngineError
from ..store.oci_layout import Layout
from .address import Docker
from .engine_api import save_image

_BLOBS = "blobs/sha256/"
_CHUNK = 1 << 20


def save(docker: Docker, name: str, platform: str, layout: Layout) -> str | None:
    """Copy the image `name` for `platform` into the layout and return its manifest's digest; None if Docker lacks it.

    What the layout has already is not written again.
    """
    index = save_image(docker, name, lambda archive: _unpack(archive, layout))
    return None if index is None else _manifest(index, platform, layout)


def _unpack(archive: IO[bytes], layout: Layout) -> dict[str, Any]:
    """Put the blobs where they belong and return index.json."""
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
                    raise EngineError(f"Docker sent other bytes than those of {digest}", hint="try again")
    if not index:
        raise EngineError(
            "Docker saves images in a form that is no OCI layout", hint="version 25 is the first to do so"
        )
    return index


def _manifest(index: dict[str, Any], platform: str, layout: Layout) -> str | None:
    """The first manifest for the platform that is there with all its blobs."""
    for described in index.get("manifests", ()):
        digest = str(described["digest"])
        if not layout.has(digest):
            continue
        found = layout.manifest(digest)
        if "manifests" in found:
            if inner := _manifest(found, platform, layout):
                return inner
        elif layout.complete(digest) and Platform.parse(platform).fits(layout.config(digest)):
            return digest
    return None


def _digest(path: str) -> str:
    return f"sha256:{path.removeprefix(_BLOBS)}"


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk
