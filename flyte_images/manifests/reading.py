"""Shared by all readers of package lists: the text of a file, its Python version, and the cache of results."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from flyte_images_layers import LayerError

from ..store import json_cache
from . import PackageList


def read_text(path: str) -> str:
    """Return the text of a file. Raise LayerError if it cannot be read."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise LayerError(f"`{path}` cannot be read: {reason}") from None


def parse_toml(text: str, path: str) -> dict[str, Any]:
    """Parse the text of the file at `path`. Raise LayerError if it is not TOML."""
    import tomllib  # not needed for requirements.txt

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LayerError(f"`{os.path.basename(path)}` is not TOML: {error}") from None  # noqa: PTH119


def check_python(specifier: object, python: str, path: str) -> None:
    """Raise LayerError if a project excludes every patch version of the image's Python."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        allowed = SpecifierSet(str(specifier)) if specifier else None
    except InvalidSpecifier:
        return  # another notation: the requirements of the packages decide
    if allowed is not None and not any(allowed.contains(f"{python}.{patch}") for patch in (0, 99)):
        raise LayerError(
            f"`{os.path.basename(path)}` wants Python {specifier}, the image has {python}",  # noqa: PTH119
            hint='choose another with from_debian_base(python_version="X.Y")',
        )


def cached(
    kind: str, parts: tuple[object, ...], environ: Mapping[str, str], make: Callable[[], PackageList]
) -> PackageList:
    """Return the cached result of `make`, which depends on `parts` alone: parsing TOML is slow."""
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    try:
        return _from_json(json_cache.read(environ, kind, key))
    except (TypeError, KeyError, ValueError):
        pass  # no entry, or a damaged one
    packages = make()
    json_cache.write(environ, kind, key, asdict(packages))
    return packages


def _from_json(raw: Any) -> PackageList:
    names = ("packages", "constraints", "extra_index_urls", "no_binary")
    return PackageList(
        **{name: tuple(raw[name]) for name in names},
        hashes=tuple((name, tuple(several)) for name, several in raw["hashes"]),
        index_url=raw["index_url"],
        pre=raw["pre"],
    )
