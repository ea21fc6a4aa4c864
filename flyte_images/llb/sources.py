"""Where file systems come from: images, OCI layouts, files by checksum, git, local directories. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import urlsplit

from ..errors import SpecError
from .pb import ops_pb2
from .state import Note, Platform, State, text, vertex

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SCP = re.compile(r"(?:[\w.-]+@)?([\w.-]+):(?!//)(.+)")  # git@host:path


def image(
    ref: str,
    *,
    platform: Platform,
    resolve_mode: Literal["default", "local", "pull"] = "default",
    checksum: str | None = None,
    note: Note | None = None,
) -> State:
    """The image `ref`, which names its registry: `registry.test/debian:13@sha256:...`.

    `resolve_mode="local"` with a tag and a digest (in `ref`, or as `checksum`) takes an image that the engine has
    without asking any registry; "pull" always asks.
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
    if resolve_mode == "pull":
        caps.add("source.image.resolvemode")
    if checksum is not None:
        attrs["image.checksum"] = _checksum(checksum)
        caps.add("source.image.checksum")
    return _source(f"docker-image://{ref}", attrs, platform=platform, caps=caps, note=note)


def oci_layout(name_at_digest: str, *, store: str, platform: Platform, note: Note | None = None) -> State:
    """The image of a manifest that this client serves from its content store `store`.

    The name is free but must hold a slash: `local/context@sha256:...`. An engine that has the blobs asks for nothing.
    """
    name, _, digest = name_at_digest.partition("@")
    if "/" not in name or not _DIGEST.fullmatch(digest):
        raise SpecError(f"`{name_at_digest}` is not a manifest in a layout", hint="write it as a/name@sha256:<digest>")
    attrs = {"oci.store": store}
    return _source(f"oci-layout://{name_at_digest}", attrs, platform=platform, caps={"source.ocilayout"}, note=note)


def http(
    url: str,
    *,
    checksum: str,
    filename: str | None = None,
    mode: int | None = None,
    uid: int | None = None,
    gid: int | None = None,
    auth_header_secret: str | None = None,
    headers: Mapping[str, str] | None = None,
    note: Note | None = None,
) -> State:
    """The file at `url`, under `filename` (default: the last part of the address) with `mode` (default: 0600).

    The engine fetches it once, and refuses other bytes than those of `checksum` (`sha256:...`). Of `headers` BuildKit
    sends only Accept and User-Agent; `auth_header_secret` names the secret that holds the Authorization header.
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
    for key, owner in (("http.uid", uid), ("http.gid", gid)):
        if owner is not None:
            attrs[key] = str(owner)
            caps.add("soruce.http.uidgid")  # BuildKit's own spelling
    if auth_header_secret is not None:
        attrs["http.authheadersecret"] = auth_header_secret
        caps.add("source.http.auth")
    for name, value in (headers or {}).items():
        if name.lower() not in ("accept", "user-agent"):
            raise SpecError(f"BuildKit sends no header `{name}` of a source", hint="only Accept and User-Agent")
        attrs[f"http.header.{name.lower()}"] = value
        caps.add("source.http.header")
    return _source(url, attrs, caps=caps, note=note)


def git(
    remote: str,
    *,
    ref: str,
    subdir: str = "",
    keep_git_dir: bool = False,
    auth_token_secret: str | None = None,
    auth_header_secret: str | None = None,
    known_ssh_hosts: str | None = None,
    ssh_id: str = "default",
    skip_submodules: bool = False,
    note: Note | None = None,
) -> State:
    """The files of a git repository at `ref`; only a full commit hash gives the same files on another day.

    `remote` is an https, http, ssh or git address, or `user@host:path`. The engine trusts the keys of `known_ssh_hosts`
    (lines of a known_hosts file) and signs in with the client's agent `ssh_id`.
    """
    scheme, place = _git_place(remote)
    if not ref or any(c in ref for c in "#: "):
        raise SpecError(f"`{ref}` is not a git ref", hint="give a commit, a tag or a branch")
    attrs, caps = {"git.fullurl": remote}, {"source.git", "source.git.fullurl"}
    if keep_git_dir:
        attrs["git.keepgitdir"] = "true"
        caps.add("source.git.keepgitdir")
    for key, secret in (("git.authtokensecret", auth_token_secret), ("git.authheadersecret", auth_header_secret)):
        if secret is not None:
            attrs[key] = secret
            caps.add("source.git.httpauth")
    if scheme == "ssh":
        attrs["git.mountsshsock"] = ssh_id
        caps |= {"source.git.mountsshsock", "source.git.knownsshhosts"}
        if known_ssh_hosts is not None:
            attrs["git.knownsshhosts"] = known_ssh_hosts.rstrip("\n") + "\n"
    if skip_submodules:
        attrs["git.skipsubmodules"] = "true"
        caps.add("source.git.skipsubmodules")
    inside = subdir.strip("/")
    if inside:
        caps.add("source.git.subdir")
    return _source(f"git://{place}#{ref}" + (f":{inside}" if inside else ""), attrs, caps=caps, note=note)


def local(
    name: str,
    *,
    unique: str,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    follow_paths: Sequence[str] = (),
    shared_key_hint: str = "",
    differ: Literal["metadata", "none"] = "metadata",
    note: Note | None = None,
) -> State:
    """The directory that this client serves as `name`, as far as the patterns let it.

    `unique` is a digest of the directory's content. Builds that run at the same time share vertices of equal digest,
    so without it one client would be given the files of the other.
    """
    if not name or not unique:
        raise SpecError("a local source needs a name and the digest of its content")
    attrs, caps = {"local.unique": unique}, {"source.local", "source.local.unique"}
    lists = (("includepattern", include), ("excludepatterns", exclude), ("followpaths", follow_paths))
    for key, values in lists:
        if values:
            attrs[f"local.{key}"] = json.dumps(list(values))
            caps.add("source.local.includepatterns" if key == "includepattern" else f"source.local.{key}")
    if shared_key_hint:
        attrs["local.sharedkeyhint"] = shared_key_hint
        caps.add("source.local.sharedkeyhint")
    if differ != "metadata":
        attrs["local.differ"] = differ
        caps.add("source.local.differ")
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


def _git_place(remote: str) -> tuple[str, str]:
    """The scheme of a remote, and the host and path that its different addresses have in common."""
    parts = urlsplit(remote)
    if parts.scheme in ("https", "http", "git", "ssh") and parts.hostname:
        return parts.scheme, parts.netloc.rpartition("@")[2] + "/" + parts.path.lstrip("/")
    scp = _SCP.fullmatch(remote)
    if scp is None:
        raise SpecError(f"`{remote}` is not a git repository", hint="give an https or ssh address")
    return "ssh", f"{scp[1]}/{scp[2].lstrip('/')}"
