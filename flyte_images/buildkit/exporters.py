"""The outputs of a solve, as values with BuildKit's attributes. Pure.

BuildKit silently treats an unknown attribute as metadata of the result; so no attribute name here is free text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from flyte_images_runtime.system.image_ref import ImageRef

Compression = Literal["uncompressed", "gzip", "zstd"]
"""estargz is left out: it has crashed engines (their stargz code panics)."""

Scope = Literal["manifest", "manifest-descriptor", "index", "index-descriptor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """An annotation of a manifest or an index."""

    key: str
    value: str
    scope: Scope = "manifest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How an image is made from the result: the image's configuration and the compression of its layers.

    `config` and `base_config` are image configurations as JSON. With a base configuration, the layers of the base stay
    unchanged. `compression` applies to layers that the engine has not packed yet; with `force_compression`, to all.
    `epoch` is the time of the image in seconds since 1970.
    """

    config: str | None = None
    base_config: str | None = None
    compression: Compression | None = None
    compression_level: int | None = None
    force_compression: bool = False
    epoch: int | None = None
    annotations: tuple[Annotation, ...] = ()

    def attrs(self) -> dict[str, str]:
        """Return BuildKit's attributes, always with OCI media types: the engines' defaults differ."""
        attrs = {"oci-mediatypes": "true"}
        if self.config is not None:
            attrs["containerimage.config"] = self.config
        if self.base_config is not None:
            attrs["containerimage.base.config"] = self.base_config
        if self.compression is not None:
            attrs["compression"] = self.compression
        if self.compression_level is not None:
            attrs["compression-level"] = str(self.compression_level)
        if self.force_compression:
            attrs["force-compression"] = "true"
        if self.epoch is not None:
            attrs["source-date-epoch"] = str(self.epoch)
        return attrs | {f"annotation-{it.scope}.{it.key}": it.value for it in self.annotations}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in the engine's own store, or pushed, or both. Names are full: `docker.io/library/x:1`.

    In an engine without an image store (a stand-alone buildkitd with runc) only a push has an effect. With `insecure`
    the registry may speak HTTP or have an unknown certificate; a registry on the loopback interface always may.
    """

    type: ClassVar[str] = "image"
    names: tuple[str, ...]
    packing: Packing = Packing()
    push: bool = False
    push_by_digest: bool = False
    insecure: bool = False
    unpack: bool = False
    store: bool = True

    def attrs(self) -> dict[str, str]:
        """Return BuildKit's attributes."""
        attrs = self.packing.attrs()
        if self.names:
            attrs["name"] = ",".join(self.names)
        for key in ("push", "unpack"):
            if getattr(self, key):
                attrs[key] = "true"
        if self.push_by_digest:
            attrs["push-by-digest"] = "true"
        if self.insecure or (self.names and all(map(on_loopback, self.names))):
            attrs["registry.insecure"] = "true"
        if not self.store:
            attrs["store"] = "false"
        return attrs


@dataclass(frozen=True, slots=True, kw_only=True)
class Moby:
    """An image in the Docker Engine, unpacked, in either of Docker's stores; only Docker's BuildKit can do this."""

    type: ClassVar[str] = "moby"
    names: tuple[str, ...]
    packing: Packing = Packing()

    def attrs(self) -> dict[str, str]:
        """Return BuildKit's attributes."""
        return self.packing.attrs() | ({"name": ",".join(self.names)} if self.names else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An image as one tarball on this machine: an OCI layout, or a tarball for `docker load`."""

    dest: Path
    format: Literal["oci", "docker"] = "oci"
    names: tuple[str, ...] = ()
    packing: Packing = Packing()

    @property
    def type(self) -> str:
        """The name of BuildKit's exporter."""
        return self.format

    def attrs(self) -> dict[str, str]:
        """Return BuildKit's attributes."""
        return self.packing.attrs() | ({"name": ",".join(self.names)} if self.names else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """An image in an OCI layout directory on this machine, added to the images there. `tag` is the image's name."""

    type: ClassVar[str] = "oci"
    dest: Path
    tag: str | None = None
    packing: Packing = Packing()

    def attrs(self) -> dict[str, str]:
        """Return BuildKit's attributes."""
        return self.packing.attrs() | {"tar": "false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """An image for a store outside the engine: `into` reads the `docker load` tarball as it arrives (load.py)."""

    type: ClassVar[str] = "docker"
    into: Callable[[Iterable[bytes]], object]
    names: tuple[str, ...]
    packing: Packing = Packing()

    def attrs(self) -> dict[str, str]:
        """Return BuildKit's attributes."""
        return self.packing.attrs() | {"name": ",".join(self.names)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files of the result, in a directory on this machine or as one tarball."""

    dest: Path
    tar: bool = False

    @property
    def type(self) -> str:
        """The name of BuildKit's exporter."""
        return "tar" if self.tar else "local"

    def attrs(self) -> dict[str, str]:
        """Return BuildKit's attributes: none."""
        return {}


def on_loopback(name: str) -> bool:
    """Return whether the registry of this image is on the loopback interface of the engine's host.

    >>> on_loopback("127.0.0.1:5000/x:1"), on_loopback("docker.io/library/x:1")
    (True, False)
    """
    host = ImageRef.parse(name).registry
    return host.startswith(("127.", "[::1]")) or host.partition(":")[0] == "localhost"


Exporter = Image | Moby | Archive | Layout | Load | Files
