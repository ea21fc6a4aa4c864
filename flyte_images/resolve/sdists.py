"""A source distribution -> what is needed to build its wheel. Fetches it, reads its pyproject.toml, runs nothing."""

from __future__ import annotations

import io
import posixpath
import tarfile
import tempfile
import tomllib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ResolveError
from ..fetch import fetch

_DEFAULT = {"requires": ["setuptools>=40.8.0"], "build-backend": "setuptools.build_meta:__legacy__"}  # PEP 517, 518


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source distribution as an index offers it."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    url: str


def build_requirements(source: Source, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what its pyproject.toml says it is built with (PEP 518), fetching it as this machine is set up to.

    Raises ResolveError if it cannot be fetched, is not what its hash says, or is no archive.
    """
    with tempfile.TemporaryDirectory(prefix="flyte-images-sdist-") as place:
        data = fetch(source, Path(place), environ).read_bytes()
    try:
        project = tomllib.loads(_pyproject(source.filename, data))
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError, ValueError) as error:
        raise ResolveError(f"{source.filename} cannot be read: {error}") from None
    system: Mapping[str, Any] = project.get("build-system", _DEFAULT)
    return tuple(map(str, system.get("requires", _DEFAULT["requires"])))


def _pyproject(filename: str, data: bytes) -> str:
    """The text of the pyproject.toml at the top of an archive; empty if there is none."""
    if filename.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            name = next((it for it in archive.namelist() if _is_top(it)), None)
            return archive.read(name).decode() if name else ""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() and _is_top(member.name) else None
            if file is not None:
                return file.read().decode()
    return ""


def _is_top(name: str) -> bool:
    folder, base = posixpath.split(posixpath.normpath(name))
    return base == "pyproject.toml" and bool(folder) and "/" not in folder
