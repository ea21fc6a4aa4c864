"""An image in a Docker Engine's own store: its digest and configuration, without a registry."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flyte_images_runtime.system.platform import Platform

from ..buildkit.address import Docker
from ..buildkit.client import Client
from ..buildkit.engine_api import find_image
from ..errors import EngineError

_PATIENCE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image: `reference` is its name with tag and digest, `config` the configuration (JSON) for one platform."""

    reference: str
    digest: str
    config: str


def find_in_store(client: Client, name: str, platform: str) -> StoredImage | None:
    """Return the image `name`, a full name (`docker.io/library/python:3.12`), if the engine has it for `platform`.

    Return None if builds cannot use the engine's image store. Raise EngineError if the engine does not answer.
    """
    address = client.address
    if not isinstance(address, Docker):
        return None
    described = find_image(address, name, patience=_PATIENCE)
    if described is None:
        return None
    named, _, pinned = name.partition("@")
    repository = named if "/" not in named or ":" not in named.rsplit("/", 1)[1] else named.rpartition(":")[0]
    digests = [digest for text in described.digests if (digest := _digest_of(text, repository))]
    tags = [tag for text in described.tags if (tag := _tag_of(text, repository))]
    digest = pinned or next(iter(digests), "")
    tag = named.removeprefix(repository) or next(iter(tags), "")
    if digest not in digests or not tag:
        return None  # BuildKit would look the image up in a registry
    try:
        config = image_config(client.read_blob, digest, platform)
    except EngineError:
        return None  # the store has no blob of this digest, or none for this platform
    return StoredImage(reference=f"{repository}{tag}@{digest}", digest=digest, config=config) if config else None


def image_config(read: Callable[[str], bytes], digest: str, platform: str) -> str | None:
    """Return the configuration for `platform` of the manifest or index `digest`; None if it has no such image."""
    wanted = Platform.parse(platform)
    manifest: dict[str, Any] = json.loads(read(digest))
    if "manifests" in manifest:
        fitting = (entry["digest"] for entry in manifest["manifests"] if wanted.fits(entry.get("platform") or {}))
        chosen = next(fitting, None)
        if chosen is None:
            return None
        manifest = json.loads(read(chosen))
    text = read(manifest["config"]["digest"]).decode()
    return text if wanted.fits(json.loads(text)) else None


def full_name(reference: str) -> str:
    """Return a short image reference in full, with registry and tag.

    >>> full_name("python"), full_name("team/app:1"), full_name("localhost/x@sha256:0")
    ('docker.io/library/python:latest', 'docker.io/team/app:1', 'localhost/x@sha256:0')
    """
    host, slash, path = reference.partition("/")
    if not slash or not (set(".:") & set(host) or host == "localhost"):
        host, path = "docker.io", reference if slash else f"library/{reference}"
    elif host in ("index.docker.io", "docker.io"):
        host, path = "docker.io", path if "/" in path else f"library/{path}"
    return f"{host}/{path}" if re.search(r"[:@]", path) else f"{host}/{path}:latest"


def _digest_of(text: str, repository: str) -> str | None:
    name, _, digest = text.partition("@")
    return digest if full_name(name).rpartition(":")[0] == repository else None


def _tag_of(text: str, repository: str) -> str | None:
    name, _, tag = full_name(text).rpartition(":")
    return f":{tag}" if name == repository else None
