"""What an index offers of a package, as uv tells it (pylock.toml) -> the one file that is taken, under a safe name.

An index decides what its files are called and where they are. The name is the one that the index gives, never a part
of an address as it stands: the name has to be that of a wheel or a source distribution of this package and version.
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
from .sdists import Source
from .target import Target, rank

_ENDING = re.compile(r"\.(?:tar(?:\.(?:gz|bz2|xz))?|tgz|tbz|txz|zip)$")
_SCHEMES = ("http", "https", "file")

Package = Mapping[str, Any]
"""A table of `packages` in pylock.toml; a file in it is such a table too."""


def chosen(
    package: Package, target: Target, no_binary: Sequence[str], hashes: Mapping[str, frozenset[str]]
) -> Wheel | Source:
    """Return the file of a package: its best wheel, or its source distribution where no wheel fits or is wanted.

    Raise ResolveError if there is none, or if it is offered under a name that is not one of this package.
    """
    name = package["name"]
    wheels, sdists = _of(package)
    if name in no_binary or ":all:" in no_binary:
        wheels = []
    if name in hashes:
        offered = [*wheels, *sdists]
        wheels = [it for it in wheels if _sha256(it, name) in hashes[name]]
        sdists = [it for it in sdists if _sha256(it, name) in hashes[name]]
        if offered and not wheels and not sdists:
            raise ResolveError(
                f"no file of {name} {package.get('version', '')} that fits has one of its listed hashes",
                hint="was the list made for another index, or another platform? Make it again",
            )
    if not wheels and not sdists:
        raise ResolveError(
            f"`{name}` {package.get('version', '')} has no wheel for {target.python} on {target.uv_platform}",
            hint="name a version that has one, another python_version, or build a wheel and serve it from an index",
        )
    if not wheels:
        return Source(**_fields(sdists[0], _source_name(sdists[0], package), package))
    named = [(_wheel_name(it, package), it) for it in wheels]
    filename, file = min(named, key=lambda pair: rank(pair[0], target)) if len(named) > 1 else named[0]
    return Wheel(**_fields(file, filename, package))


def addresses(packages: Sequence[Package]) -> dict[str, str]:
    """Return the address of every file that fits, by its sha256."""
    return {_sha256(file, it["name"]): _url(file) for it in packages for several in _of(it) for file in several}


def _of(package: Package) -> tuple[list[Package], list[Package]]:
    """The wheels that fit, and the source distribution if there is one."""
    wheels = list(package.get("wheels") or ())
    sdists = [package["sdist"]] if "sdist" in package else []
    for archive in [package["archive"]] if "archive" in package else []:  # named by its address
        (wheels if _told(archive).endswith(".whl") else sdists).append(archive)
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
    """The version in the name of a file whose package table has none."""
    parts = filename.split("-")
    return parts[1] if filename.endswith(".whl") else re.sub(_ENDING, "", parts[-1])


def _sha256(file: Package, name: str) -> str:
    found = file.get("hashes", {}).get("sha256")
    if not isinstance(found, str) or re.fullmatch(r"[0-9a-f]{64}", found) is None:
        raise ResolveError(
            f"{_index(file)} gives no sha256 of a file of `{name}`",
            hint="a package is known by the hash of its file: take it from an index that tells it",
        )
    return found


def _url(file: Package) -> str:
    url = str(file.get("url") or Path(file["path"]).resolve().as_uri())
    if urlsplit(url).scheme not in _SCHEMES:
        raise ResolveError(f"{_index(file)} offers a file at an address that is not http or https: `{url}`")
    return url


def _index(file: Package) -> str:
    """The index that offers a file, for an error."""
    host = urlsplit(str(file.get("url") or "")).netloc.rpartition("@")[2]
    return f"the index at `{host}`" if host else "the index"


def _told(file: Package) -> str:
    """The name of a file as its index gives it; uv repeats it where it is not the end of the address."""
    return str(file.get("name") or unquote(urlsplit(_url(file)).path.rpartition("/")[2]))


def _wheel_name(file: Package, package: Package) -> str:
    """The file name of a wheel, which is that of this package and version."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import Version

    told = _told(file)
    try:
        name, version, _, _ = parse_wheel_filename(file_name(told))
    except (InvalidWheelFilename, LayerError):
        raise _misnamed(file, told, package, "a wheel") from None
    if name != package["name"] or version != Version(package.get("version") or str(version)):
        raise _misnamed(file, told, package, "a wheel")
    return told


def _source_name(file: Package, package: Package) -> str:
    """The file name of a source distribution, which is that of this package and version."""
    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version

    told = _told(file)
    try:
        stem, has_ending = _ENDING.subn("", file_name(told))
    except LayerError:
        stem, has_ending = "", 0
    for dash in (
        place for place, letter in enumerate(stem) if letter == "-" and has_ending
    ):  # old names hold dashes themselves
        with contextlib.suppress(InvalidVersion):
            version = Version(stem[dash + 1 :])
            is_it = version == Version(package.get("version") or str(version))
            if is_it and canonicalize_name(stem[:dash]) == package["name"]:
                return told
    raise _misnamed(file, told, package, "a source distribution")


def _misnamed(file: Package, told: str, package: Package, kind: str) -> ResolveError:
    shown = repr(told) if len(told) <= 100 else f"{told[:100]!r}..."
    return ResolveError(
        f"{_index(file)} offers {shown} as {kind} of `{package['name']}` {package.get('version', '')}, "
        "which is not the name of one",
        hint="the index is at fault, or hostile: nothing was fetched from it; ask another one (index_url=, UV_INDEX)",
    )
