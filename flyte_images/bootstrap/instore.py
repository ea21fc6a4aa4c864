"""An image in a Docker Engine's own store: its digest and its configuration, without any registry."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ..buildkit.address import Docker
from ..buildkit.client import Client
from ..buildkit.dial import dial
from ..errors import EngineError, FlyteImagesError

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
    described = _inspect(address, name)
    if described is None:
        return None
    named, _, pinned = name.partition("@")
    repository = named if "/" not in named or ":" not in named.rsplit("/", 1)[1] else named.rpartition(":")[0]
    digests = [digest for it in described.get("RepoDigests") or () if (digest := _digest_of(it, repository))]
    tags = [tag for it in described.get("RepoTags") or () if (tag := _tag_of(it, repository))]
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
    found: dict[str, Any] = json.loads(read(digest))
    if "manifests" in found:
        fitting = (it["digest"] for it in found["manifests"] if fits(it.get("platform") or {}, platform))
        chosen = next(fitting, None)
        if chosen is None:
            return None
        found = json.loads(read(chosen))
    text = read(found["config"]["digest"]).decode()
    return text if fits(json.loads(text), platform) else None


def fits(described: dict[str, Any], platform: str) -> bool:
    """Whether what OCI says of an image is `platform`.

    >>> fits({"os": "linux", "architecture": "arm64", "variant": "v8"}, "linux/arm64")
    True
    >>> fits({"os": "linux", "architecture": "arm", "variant": "v6"}, "linux/arm/v7")
    False
    """
    wanted = [*platform.split("/"), ""][:3]
    variant = described.get("variant") or ""
    same = [described.get("os"), described.get("architecture")] == wanted[:2]
    return same and (variant == wanted[2] or not variant or not wanted[2])


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


def _inspect(address: Docker, name: str) -> dict[str, Any] | None:
    connection = dial(address.api, patience=_PATIENCE)
    asked = http.client.HTTPConnection("docker", timeout=_PATIENCE)
    try:
        connection.socket.settimeout(_PATIENCE)
        asked.sock = connection.socket
        asked.request("GET", f"/images/{quote(name, safe='/:@')}/json")
        reply = asked.getresponse()
        body = reply.read()
    except (OSError, http.client.HTTPException) as error:
        raise EngineError(f"{address} does not answer: {error}", hint="is a Docker Engine running there?") from None
    finally:
        connection.close()
    if reply.status == 404:
        return None
    if reply.status != 200:
        said = body[:300].decode("utf-8", "replace").strip()
        raise EngineError(f"{address} does not say whether it has `{name}`: {reply.status} {said}")
    try:
        return dict(json.loads(body))
    except ValueError:
        raise FlyteImagesError(f"{address} answers with what is no JSON: {body[:80]!r}") from None
