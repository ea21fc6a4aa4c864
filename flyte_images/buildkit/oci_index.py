"""The index.json of an OCI layout: which manifests it holds and what they are called."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .partial import partial

_TAG = "org.opencontainers.image.ref.name"
_INDEX = "application/vnd.oci.image.index.v1+json"
Descriptor = dict[str, Any]  # JSON: mediaType, digest, size, annotations


def tagged_manifest(directory: Path, tag: str) -> Descriptor | None:
    """The descriptor of the manifest that is called `tag`, if there is one."""
    for descriptor in _read(directory).get("manifests", ()):
        if descriptor.get("annotations", {}).get(_TAG) == tag:
            return dict(descriptor)
    return None


def put_manifest(directory: Path, descriptor: Descriptor, *, tag: str | None) -> None:
    """Add a manifest, taking `tag` from whichever had it. Two processes may do so at once."""
    directory.mkdir(parents=True, exist_ok=True)
    kept = {key: descriptor[key] for key in ("mediaType", "digest", "size")}
    if tag is not None:
        kept["annotations"] = {_TAG: tag}
    with (directory / "oci-layout").open("a+") as marker:
        fcntl.flock(marker, fcntl.LOCK_EX)
        if not marker.tell():
            marker.write('{"imageLayoutVersion":"1.0.0"}')
        others = [
            it
            for it in _read(directory).get("manifests", ())
            if it != kept and (tag is None or it.get("annotations", {}).get(_TAG) != tag)
        ]
        with partial(directory) as temporary:
            index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [*others, kept]}
            temporary.write_text(json.dumps(index, indent=1), encoding="utf-8")
            temporary.rename(directory / "index.json")


def _read(directory: Path) -> dict[str, Any]:
    path = directory / "index.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise EngineError(f"`{path}` is damaged: {error}", hint="remove the directory; it is made anew") from None
