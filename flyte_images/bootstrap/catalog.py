"""The bootstrapped bases of this machine: a record of each, beside the OCI layout that holds its image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..store import json_cache
from ..store.cache_dir import cache_dir, layout_dir
from ..store.oci_layout import Descriptor, Layout
from .base_image import BaseImage
from .base_record import write_record

SUITES = {"bookworm": "3.11", "trixie": "3.13"}
"""The Debian releases that can be made, each with its version of Python."""

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A state of one suite of the archive.

    `date` (ISO 8601) and `sha256` are those of the signed Release file, which vouches for the package lists and so for
    every package; `lists` holds the sha256 of each list that was used.
    """

    suite: str
    date: str
    sha256: str
    lists: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An installed package; `sha256` is the hash of its .deb file."""

    name: str
    version: str
    architecture: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrappedBase:
    """A Debian image with Python in the layout.

    `architecture` has OCI's spelling (`amd64`); `manifest` describes the image, and `config` is the digest of its
    configuration; `size` is that of the compressed layer, in bytes. The base was made from `releases` and `packages`
    at `made` (ISO 8601). `created` is the date of the newest package, so the same packages give the same image on any
    day.
    """

    suite: str
    python: str
    architecture: str
    manifest: Descriptor
    config: str
    size: int
    created: str
    made: str
    releases: tuple[Release, ...]
    packages: tuple[Package, ...]

    @property
    def state(self) -> str:
        """The date of the newest of `releases`."""
        return max(release.date for release in self.releases)

    def base_image(self, *, environ: Mapping[str, str]) -> BaseImage:
        """Return this base as an image to build on."""
        libc = next(package.version for package in self.packages if package.name == "libc6").partition("-")[0]
        return BaseImage(
            origin="layout",
            reference=f"local/debian-{self.suite}@{self.manifest.digest}",
            digest=self.manifest.digest,
            config=Layout(layout_dir(environ)).read(self.config).decode(),
            python=self.python,
            python_path=f"/usr/bin/python{self.python}",
            libc=libc,
            description=f"debian {self.suite} with python {self.python}, bootstrapped (archive of {self.state[:10]})",
        )


def list_bases(environ: Mapping[str, str]) -> list[BootstrappedBase]:
    """Return the bootstrapped bases whose blobs are all present, the newest first."""
    layout = Layout(layout_dir(environ))
    loaded = (_load(path) for path in (cache_dir(environ) / "bases").glob("made-*.json"))
    complete = [base for base in loaded if base is not None and layout.complete(base.manifest.digest)]
    return sorted(complete, key=lambda base: (base.made, base.suite), reverse=True)


def newest(environ: Mapping[str, str], *, python: str, architecture: str) -> BootstrappedBase | None:
    """Return the base with Python X.Y that was made last, or None."""
    wanted = (python, architecture)
    return next((base for base in list_bases(environ) if (base.python, base.architecture) == wanted), None)


def save(base: BootstrappedBase, *, environ: Mapping[str, str]) -> None:
    """Write the record of `base`."""
    name = f"made-{base.suite}-{base.architecture}-{base.manifest.digest.removeprefix('sha256:')[:16]}.json"
    write_record(cache_dir(environ) / "bases" / name, {"format": _FORMAT, **asdict(base)})


def _load(path: Path) -> BootstrappedBase | None:
    """Return a record; None if it is damaged or of another version of this package."""
    try:
        raw: dict[str, Any] = json_cache.load(path)
        if raw.pop("format") != _FORMAT:
            return None
        releases = tuple(Release(**{**fields, "lists": tuple(fields["lists"])}) for fields in raw["releases"])
        packages = tuple(Package(**fields) for fields in raw["packages"])
        return BootstrappedBase(
            **{**raw, "manifest": Descriptor(**raw["manifest"]), "releases": releases, "packages": packages}
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
