"""Where the file systems of a graph come from: bases, packed local files, packages by their hash. Pure.

None of it decides what an image is: the same file by its hash is the same file, whoever brings it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flyte_images_layers.steps import Deb, Sdist, Wheel
from flyte_images_runtime.system.image_ref import Digest, ImageRef

from .. import llb
from ..bootstrap.base_image import BaseImage

STORE = "flyte-images"
"""The name of the session's content store: the user's OCI layout, with bases, packed local files and wheels."""

_ANY = llb.Platform("linux", "amd64")  # what the manifests of packed files say; files are for every platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What the engine can do of what a graph is better with: merge layers, take images from the session's content
    store, and hold an image of its own store to a digest."""

    merge: bool = True
    layouts: bool = True
    checksums: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the files of a plan are to be had.

    `files` and `packages` are names (`a/b@sha256:...`) of images in the session's content store: of local files by
    (content, destination), of package files that the engine cannot fetch by their sha256. `blobs` are the layers of
    those images and of the bases there, by name, for engines without `layouts`.
    """

    files: Mapping[tuple[str, str], str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    blobs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def base_state(base: BaseImage, platform: llb.Platform, abilities: Abilities, places: Places) -> llb.State:
    """The file system of a base.

    An engine's own image goes by its tag: by digest, Docker 26 asks a registry even for an image that it has. Where the
    engine cannot check the digest, the caller has to.
    """
    note = llb.Note(name=f"base {base.description or base.reference}")
    match base.origin:
        case "layout":
            return layout_state(base.reference, platform, note, abilities, places)
        case "engine":
            name = str(ImageRef.parse(base.reference)._replace(digest=""))
            checksum = base.digest if abilities.checksums else None
            return llb.image(name, platform=platform, resolve_mode="local", checksum=checksum, note=note)
        case _:
            return llb.image(base.reference, platform=platform, note=note)


def layout_state(
    name: str, platform: llb.Platform | None, note: llb.Note, abilities: Abilities, places: Places
) -> llb.State:
    """An image of the session's content store; or its layers, as files of the session that are unpacked."""
    if abilities.layouts:
        return llb.oci_layout(name, store=STORE, platform=platform or _ANY, note=note)
    state = llb.scratch()
    for digest in places.blobs[name]:
        blob = blob_name(digest)
        source = llb.local(blob, unique=digest, shared_key_hint=blob, note=note)
        state = llb.file(state, [llb.copy(source, f"/{blob}", "/", unpack=True)], note=note)
    return state


def blob_name(digest: str) -> str:
    """What the session calls the one file of a blob.

    >>> blob_name("sha256:" + "0" * 64)[:9]
    'blob-0000'
    """
    return f"blob-{Digest.parse(digest).hex}"


def package_state(package: Wheel | Sdist | Deb, note: llb.Note, abilities: Abilities, places: Places) -> llb.State:
    """A package file: fetched by the engine, or served by this client where the engine cannot."""
    if package.sha256 in places.packages:
        return layout_state(places.packages[package.sha256], None, note, abilities, places)
    return llb.http(package.url, checksum=str(Digest(package.sha256)), filename=package.filename, mode=0o644, note=note)
