"""What a bootstrapped base is, and the record of it beside the layout that holds its image."""

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
"""The Debian releases that can be made, each with the Python that it brings."""

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A suite of the archive as it was: the date (ISO 8601) of its signed Release file, which vouches for the package
    lists and through them for every package; the sha256 of that file, and of each list that was used."""

    suite: str
    date: str
    sha256: str
    lists: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An installed package; `sha256` is that of its .deb file."""

    name: str
    version: str
    architecture: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrapped:
    """A Debian with Python in the layout. `architecture` is in OCI's words.

    `releases` and `packages` say what it was made from, `made` when that was (ISO 8601). `created` is the date of its
    newest package: the same packages are the same image on any day.
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
        """The date of the newest Release file that it was made from."""
        return max(release.date for release in self.releases)

    def found(self, *, environ: Mapping[str, str]) -> BaseImage:
        """This base as what an image may stand on."""
        libc = next(it.version for it in self.packages if it.name == "libc6").partition("-")[0]
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


def list_bases(environ: Mapping[str, str]) -> list[Bootstrapped]:
    """All bootstrapped bases that are there in full, the newest first."""
    layout = Layout(layout_dir(environ))
    loaded = (_load(path) for path in (cache_dir(environ) / "bases").glob("made-*.json"))
    whole = [base for base in loaded if base is not None and layout.complete(base.manifest.digest)]
    return sorted(whole, key=lambda base: (base.made, base.suite), reverse=True)


def newest(environ: Mapping[str, str], *, python: str, architecture: str) -> Bootstrapped | None:
    """The base with Python X.Y that was made last, if there is one."""
    wanted = (python, architecture)
    return next((it for it in list_bases(environ) if (it.python, it.architecture) == wanted), None)


def save(base: Bootstrapped, *, environ: Mapping[str, str]) -> None:
    """Write the record of `base`."""
    name = f"made-{base.suite}-{base.architecture}-{base.manifest.digest.removeprefix('sha256:')[:16]}.json"
    write_record(cache_dir(environ) / "bases" / name, {"format": _FORMAT, **asdict(base)})


def _load(path: Path) -> Bootstrapped | None:
    """A record; one that is damaged, or of another version of this package, is as good as none."""
    try:
        raw: dict[str, Any] = json_cache.load(path)
        if raw.pop("format") != _FORMAT:
            return None
        releases = tuple(Release(**{**it, "lists": tuple(it["lists"])}) for it in raw["releases"])
        packages = tuple(Package(**it) for it in raw["packages"])
        return Bootstrapped(
            **{**raw, "manifest": Descriptor(**raw["manifest"]), "releases": releases, "packages": packages}
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
