"""Where file systems come from: images, OCI layouts, files by checksum, and files of the client. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from flyte_images_runtime.system.platform import Platform

from ..errors import SpecError
from .pb import ops_pb2
from .state import Note, State, text, vertex

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def image(
    ref: str,
    *,
    platform: Platform,
    resolve_mode: Literal["default", "local"] = "default",
    checksum: str | None = None,
    note: Note | None = None,
) -> State:
    """Return the image `ref`, which names its registry: `registry.test/debian:13@sha256:...`.

    `resolve_mode="local"` with a tag and a digest (in `ref`, or as `checksum`) takes an image from the engine's store
    without asking a registry.
    """
    host, slash, name = ref.partition("/")
    if not slash or not (set(".:") & set(host) or host == "localhost") or not (set(":@") & set(name)):
        raise SpecError(
            f"`{ref}` is not a full image reference", hint="write registry/name:tag or registry/name@digest"
        )
    attrs: dict[str, str] = {}
    caps = {"source.image"}
    if resolve_mode != "default":
        attrs["image.resolvemode"] = resolve_mode
    if checksum is not None:
        attrs["image.checksum"] = _checksum(checksum)
        caps.add("source.image.checksum")
    return _source(f"docker-image://{ref}", attrs, platform=platform, caps=caps, note=note)


def oci_layout(name_at_digest: str, *, store: str, platform: Platform, note: Note | None = None) -> State:
    """Return the image of a manifest that this client serves from its content store `store`.

    The name is free but must contain a slash: `local/context@sha256:...`. An engine that already has the blobs asks
    this client for nothing.
    """
    name, _, digest = name_at_digest.partition("@")
    if "/" not in name or not _DIGEST.fullmatch(digest):
        raise SpecError(f"`{name_at_digest}` is not a manifest in a layout", hint="write it as a/name@sha256:<digest>")
    attrs = {"oci.store": store}
    return _source(f"oci-layout://{name_at_digest}", attrs, platform=platform, caps={"source.ocilayout"}, note=note)


def http(
    url: str, *, checksum: str, filename: str | None = None, mode: int | None = None, note: Note | None = None
) -> State:
    """Return the file at `url` as `filename` (default: the last part of the address) with `mode` (default: 0600).

    The engine downloads the file once, and refuses bytes whose digest is not `checksum` (`sha256:...`).
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise SpecError(f"`{url}` is not an http or https address")
    if filename is not None and (not filename or "/" in filename or filename in (".", "..")):
        raise SpecError(f"`{filename}` is not a file name")
    attrs = {"http.checksum": _checksum(checksum)}
    caps = {"source.http", "source.http.checksum"}
    if filename is not None:
        attrs["http.filename"] = filename
    if mode is not None:
        attrs["http.perm"] = f"0{mode:o}"
        caps.add("source.http.perm")
    return _source(url, attrs, caps=caps, note=note)


def local(name: str, *, unique: str, shared_key_hint: str = "", note: Note | None = None) -> State:
    """Return the files that this client serves as `name`.

    `unique` is a digest of the content. Builds that run at the same time share vertices of equal digest, so without
    `unique` one client would get the files of another client.
    """
    if not name or not unique:
        raise SpecError("a local source needs a name and the digest of its content")
    attrs, caps = {"local.unique": unique}, {"source.local", "source.local.unique"}
    if shared_key_hint:
        attrs["local.sharedkeyhint"] = shared_key_hint
        caps.add("source.local.sharedkeyhint")
    return _source(f"local://{name}", attrs, caps=caps, note=note)


def _source(
    identifier: str,
    attrs: Mapping[str, str],
    *,
    caps: set[str],
    note: Note | None,
    platform: Platform | None = None,
) -> State:
    for value in attrs.values():
        text(value, "the attribute")
    body = ops_pb2.SourceOp(identifier=text(identifier, "the source"), attrs=attrs)
    return State(vertex(body, platform=platform, caps=caps, note=note))


def _checksum(value: str) -> str:
    if not _DIGEST.fullmatch(value):
        raise SpecError(f"`{value}` is not a checksum", hint="write it as sha256:<64 hexadecimal digits>")
    return value
