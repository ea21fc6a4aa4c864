"""Cache imports and exports of a solve, as values with BuildKit's attributes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from .exporters import on_loopback

Mode = Literal["min", "max"]
"""min: the cache holds the steps whose layers are in the result; max: all steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryCache:
    """A cache stored as an image in a registry. With `insecure` the registry may speak plain HTTP."""

    type: ClassVar[str] = "registry"
    ref: str
    mode: Mode = "max"
    insecure: bool = False
    ignore_error: bool = False

    def import_attrs(self) -> dict[str, str]:
        """Return BuildKit's attributes for an import."""
        insecure = self.insecure or on_loopback(self.ref)
        return {"ref": self.ref} | ({"registry.insecure": "true"} if insecure else {})

    def export_attrs(self) -> dict[str, str]:
        """Return BuildKit's attributes for an export."""
        return self.import_attrs() | _export(self.mode, ignore_error=self.ignore_error)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCache:
    """A cache stored as an OCI layout on this machine, under the name `tag`."""

    type: ClassVar[str] = "local"
    directory: Path
    tag: str = "latest"
    mode: Mode = "max"
    ignore_error: bool = False

    def import_attrs(self, digest: str) -> dict[str, str]:
        """Return BuildKit's attributes for an import of the manifest `digest`, which the client finds by `tag`."""
        return {"src": str(self.directory), "digest": digest}

    def export_attrs(self) -> dict[str, str]:
        """Return BuildKit's attributes for an export."""
        return {"dest": str(self.directory)} | _export(self.mode, ignore_error=self.ignore_error)


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineCache:
    """A cache stored in the configuration of the exported image; imported as the registry cache of that image."""

    type: ClassVar[str] = "inline"

    def export_attrs(self) -> dict[str, str]:
        """Return BuildKit's attributes for an export: none."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCache:
    """A cache in a service: GitHub Actions (`gha`), `s3` or `azblob`, with the attributes that BuildKit documents."""

    type: Literal["gha", "s3", "azblob"]
    settings: Mapping[str, str] = field(repr=False)
    mode: Mode = "max"
    ignore_error: bool = False

    def import_attrs(self) -> dict[str, str]:
        """Return BuildKit's attributes for an import."""
        return dict(self.settings)

    def export_attrs(self) -> dict[str, str]:
        """Return BuildKit's attributes for an export."""
        return dict(self.settings) | _export(self.mode, ignore_error=self.ignore_error)


Cache = RegistryCache | LocalCache | InlineCache | ServiceCache


def _export(mode: Mode, *, ignore_error: bool) -> dict[str, str]:
    attrs = {"mode": mode, "image-manifest": "true", "oci-mediatypes": "true"}
    return attrs | ({"ignore-error": "true"} if ignore_error else {})
