"""The sources of a graph's file systems: bases, packed local files, and packages by their hash. Pure.

Where a source comes from does not change the image: files with the same hash are the same files.
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

_ANY = llb.Platform("linux", "amd64")  # the platform in the manifests of packed files, which fit every platform


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFeatures:
    """Optional features of the engine that a graph uses: merging layers, reading images from the session's content
    store (`layouts`), and checking the digest of an image in the engine's own store (`checksums`)."""

    merge: bool = True
    layouts: bool = True
    checksums: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMap:
    """The sources of a plan that this client serves.

    `files` and `packages` are names (`a/b@sha256:...`) of images in the session's content store: of local files by
    (content, destination), and of package files that the engine cannot fetch by their sha256. `blobs` are the layers of
    those images and of bases in the store, by image name, for engines without `layouts`.
    """

    files: Mapping[tuple[str, str], str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    blobs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def base_state(base: BaseImage, platform: llb.Platform, features: EngineFeatures, source_map: SourceMap) -> llb.State:
    """Return the file system of a base.

    An image in the engine's own store is named by its tag: for a digest, Docker 26 asks a registry even if it has the
    image. If the engine cannot check the digest, the caller must.
    """
    note = llb.Note(name=f"base {base.description or base.reference}")
    match base.origin:
        case "layout":
            return layout_state(base.reference, platform, note, features, source_map)
        case "engine":
            name = str(ImageRef.parse(base.reference)._replace(digest=""))
            checksum = base.digest if features.checksums else None
            return llb.image(name, platform=platform, resolve_mode="local", checksum=checksum, note=note)
        case _:
            return llb.image(base.reference, platform=platform, note=note)


def layout_state(
    name: str, platform: llb.Platform | None, note: llb.Note, features: EngineFeatures, source_map: SourceMap
) -> llb.State:
    """Return an image of the session's content store; on engines without `layouts`, its layers, unpacked by copies."""
    if features.layouts:
        return llb.oci_layout(name, store=STORE, platform=platform or _ANY, note=note)
    state = llb.scratch()
    for digest in source_map.blobs[name]:
        blob = blob_name(digest)
        source = llb.local(blob, unique=digest, shared_key_hint=blob, note=note)
        state = llb.file(state, [llb.copy(source, f"/{blob}", "/", unpack=True)], note=note)
    return state


def blob_name(digest: str) -> str:
    """Return the session's name for the file of a blob.

    >>> blob_name("sha256:" + "0" * 64)[:9]
    'blob-0000'
    """
    return f"blob-{Digest.parse(digest).hex}"


def package_state(
    package: Wheel | Sdist | Deb, note: llb.Note, features: EngineFeatures, source_map: SourceMap
) -> llb.State:
    """Return a package file: fetched by the engine, or served by this client if the engine cannot fetch the file."""
    if package.sha256 in source_map.packages:
        return layout_state(source_map.packages[package.sha256], None, note, features, source_map)
    return llb.http(package.url, checksum=str(Digest(package.sha256)), filename=package.filename, mode=0o644, note=note)
