"""The files that an index offers of a package (a table of uv's pylock.toml) -> one file, under a safe name.

An index decides the names and addresses of its files. A name is accepted only if it is that of a wheel or a source
distribution of this package and version; it is never an unchecked part of an address.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from flyte_images_layers import LayerError
from flyte_images_layers.file_names import file_name
from flyte_images_layers.steps import Wheel

from ..errors import ResolveError
from .sdists import SourceDist
from .target import Target, rank

_ENDING = re.compile(r"\.(?:tar(?:\.(?:gz|bz2|xz))?|tgz|tbz|txz|zip)$")
_SCHEMES = ("http", "https", "file")

Package = Mapping[str, Any]
"""A table of `packages` in pylock.toml; a file in that table is a table too."""


def choose_file(
    package: Package, target: Target, no_binary: Sequence[str], hashes: Mapping[str, frozenset[str]]
) -> Wheel | SourceDist:
    """Return the best wheel of a package, or its source distribution if no wheel fits or `no_binary` excludes wheels.

    `hashes` limits the files of a package to the listed sha256. Raise ResolveError without a file, or if the offered
    name is not one of this package.
    """
    name = package["name"]
    wheels, sdists = _files_of(package)
    if name in no_binary or ":all:" in no_binary:
        wheels = []
    if name in hashes:
        offered = [*wheels, *sdists]
        wheels = [file for file in wheels if _sha256(file, name) in hashes[name]]
        sdists = [file for file in sdists if _sha256(file, name) in hashes[name]]
        if offered and not wheels and not sdists:
            raise ResolveError(
                f"no suitable file of {name} {package.get('version', '')} has one of the listed hashes",
                hint="the list may be for another index or platform: make it again",
            )
    if not wheels and not sdists:
        raise ResolveError(
            f"`{name}` {package.get('version', '')} has no wheel for {target.python} on {target.uv_platform}",
            hint="name a version that has a wheel, use another python_version, or serve a wheel from your own index",
        )
    if not wheels:
        return SourceDist(**_fields(sdists[0], _source_name(sdists[0], package), package))
    named = [(_wheel_name(wheel, package), wheel) for wheel in wheels]
    filename, file = min(named, key=lambda pair: rank(pair[0], target)) if len(named) > 1 else named[0]
    return Wheel(**_fields(file, filename, package))


def addresses(packages: Sequence[Package]) -> dict[str, str]:
    """Return the address of every suitable file, by sha256."""
    return {
        _sha256(file, package["name"]): _url(file)
        for package in packages
        for several in _files_of(package)
        for file in several
    }


def _files_of(package: Package) -> tuple[list[Package], list[Package]]:
    """Return the suitable wheels, and the source distribution if the index has one."""
    wheels = list(package.get("wheels") or ())
    sdists = [package["sdist"]] if "sdist" in package else []
    for archive in [package["archive"]] if "archive" in package else []:  # named by its address
        (wheels if _offered_name(archive).endswith(".whl") else sdists).append(archive)
    return wheels, sdists


def _fields(file: Package, filename: str, package: Package) -> dict[str, Any]:
    return {
        "name": package["name"],
        "version": package.get("version") or _version(filename),
        "filename": filename,
        "sha256": _sha256(file, package["name"]),
        "size": int(file.get("size") or 0),
        "url": _url(file),
    }


def _version(filename: str) -> str:
    """Return the version in a file name, for a package table without a version."""
    parts = filename.split("-")
    return parts[1] if filename.endswith(".whl") else re.sub(_ENDING, "", parts[-1])


def _sha256(file: Package, name: str) -> str:
    sha256 = file.get("hashes", {}).get("sha256")
    if not isinstance(sha256, str) or re.fullmatch(r"[0-9a-f]{64}", sha256) is None:
        raise ResolveError(
            f"{_index(file)} gives no sha256 of a file of `{name}`",
            hint="use an index that publishes sha256 hashes",
        )
    return sha256


def _url(file: Package) -> str:
    url = str(file.get("url") or Path(file["path"]).resolve().as_uri())
    if urlsplit(url).scheme not in _SCHEMES:
        raise ResolveError(f"{_index(file)} offers a file at an address that is not http or https: `{url}`")
    return url


def _index(file: Package) -> str:
    """Return the name of the index that offers a file, for an error."""
    host = urlsplit(str(file.get("url") or "")).netloc.rpartition("@")[2]
    return f"the index at `{host}`" if host else "the index"


def _offered_name(file: Package) -> str:
    """Return the name that the index gives a file; uv writes the name if it is not the end of the address."""
    return str(file.get("name") or unquote(urlsplit(_url(file)).path.rpartition("/")[2]))


def _wheel_name(file: Package, package: Package) -> str:
    """Return the file name of a wheel. Raise ResolveError if it is not one of this package and version."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import Version

    filename = _offered_name(file)
    try:
        name, version, _, _ = parse_wheel_filename(file_name(filename))
    except (InvalidWheelFilename, LayerError):
        raise _misnamed(file, filename, package, "a wheel") from None
    if name != package["name"] or version != Version(package.get("version") or str(version)):
        raise _misnamed(file, filename, package, "a wheel")
    return filename


def _source_name(file: Package, package: Package) -> str:
    """Return the name of a source distribution. Raise ResolveError if it is not one of this package and version."""
    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version

    filename = _offered_name(file)
    try:
        stem, has_ending = _ENDING.subn("", file_name(filename))
    except LayerError:
        stem, has_ending = "", 0
    for dash in (
        place for place, letter in enumerate(stem) if letter == "-" and has_ending
    ):  # old names may contain dashes
        with contextlib.suppress(InvalidVersion):
            version = Version(stem[dash + 1 :])
            is_version = version == Version(package.get("version") or str(version))
            if is_version and canonicalize_name(stem[:dash]) == package["name"]:
                return filename
    raise _misnamed(file, filename, package, "a source distribution")


def _misnamed(file: Package, filename: str, package: Package, kind: str) -> ResolveError:
    shown = repr(filename) if len(filename) <= 100 else f"{filename[:100]!r}..."
    return ResolveError(
        f"{_index(file)} offers {shown} as {kind} of `{package['name']}` {package.get('version', '')}, "
        "but that is not a name of one",
        hint="the index is faulty or hostile; nothing was fetched from it; use another index (index_url=, UV_INDEX)",
    )
