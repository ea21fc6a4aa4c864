"""An image in a Docker Engine's own store: its digest and its configuration, without any registry."""

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
class Stored:
    """An image by `reference` (name, tag and digest) with the configuration of one platform."""

    reference: str
    digest: str
    config: str


def in_store(client: Client, name: str, platform: str) -> Stored | None:
    """The image of that full name (`docker.io/library/python:3.12`), if the engine has it for `platform`.

    Engines without an image store that builds can use have none. Raises EngineError when the engine does not answer.
    """
    address = client.address
    if not isinstance(address, Docker):
        return None
    described = find_image(address, name, patience=_PATIENCE)
    if described is None:
        return None
    named, _, pinned = name.partition("@")
    repository = named if "/" not in named or ":" not in named.rsplit("/", 1)[1] else named.rpartition(":")[0]
    digests = [digest for it in described.digests if (digest := _digest_of(it, repository))]
    tags = [tag for it in described.tags if (tag := _tag_of(it, repository))]
    digest = pinned or next(iter(digests), "")
    tag = named.removeprefix(repository) or next(iter(tags), "")
    if digest not in digests or not tag:
        return None  # BuildKit would ask a registry
    try:
        config = image_config(client.read_blob, digest, platform)
    except EngineError:
        return None  # the store does not hold it by digest, or not for that platform
    return Stored(reference=f"{repository}{tag}@{digest}", digest=digest, config=config) if config else None


def image_config(read: Callable[[str], bytes], digest: str, platform: str) -> str | None:
    """The configuration for `platform` of the manifest or index `digest`."""
    wanted = Platform.parse(platform)
    found: dict[str, Any] = json.loads(read(digest))
    if "manifests" in found:
        fitting = (it["digest"] for it in found["manifests"] if wanted.fits(it.get("platform") or {}))
        chosen = next(fitting, None)
        if chosen is None:
            return None
        found = json.loads(read(chosen))
    text = read(found["config"]["digest"]).decode()
    return text if wanted.fits(json.loads(text)) else None


def full_name(reference: str) -> str:
    """The whole of a reference as people write it.

    >>> full_name("python"), full_name("team/app:1"), full_name("localhost/x@sha256:0")
    ('docker.io/library/python:latest', 'docker.io/team/app:1', 'localhost/x@sha256:0')
    """
    host, slash, rest = reference.partition("/")
    if not slash or not (set(".:") & set(host) or host == "localhost"):
        host, rest = "docker.io", reference if slash else f"library/{reference}"
    elif host in ("index.docker.io", "docker.io"):
        host, rest = "docker.io", rest if "/" in rest else f"library/{rest}"
    return f"{host}/{rest}" if re.search(r"[:@]", rest) else f"{host}/{rest}:latest"


def _digest_of(text: str, repository: str) -> str | None:
    name, _, digest = text.partition("@")
    return digest if full_name(name).rpartition(":")[0] == repository else None


def _tag_of(text: str, repository: str) -> str | None:
    name, _, tag = full_name(text).rpartition(":")
    return f":{tag}" if name == repository else None
