"""What all lists have in common: a text, and the Python that it is for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from flyte_images_layers import LayerError

from ..store import json_cache
from . import Listed


def text_of(path: str) -> str:
    """The text of a file of the user's."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise LayerError(f"`{path}` cannot be read: {said}") from None


def toml_of(text: str, path: str) -> dict[str, Any]:
    """The text of the file at `path`, read."""
    import tomllib  # which requirements.txt does without

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LayerError(f"`{os.path.basename(path)}` is no TOML: {error}") from None  # noqa: PTH119


def checked_python(wanted: object, python: str, path: str) -> None:
    """Refuse a project that does not want the image's Python, whatever its patch version."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        allowed = SpecifierSet(str(wanted)) if wanted else None
    except InvalidSpecifier:
        return  # of another notation: the packages' own limits decide
    if allowed is not None and not any(allowed.contains(f"{python}.{patch}") for patch in (0, 99)):
        raise LayerError(
            f"`{os.path.basename(path)}` wants Python {wanted}, the image has {python}",  # noqa: PTH119
            hint='from_debian_base(python_version="X.Y") chooses another',
        )


def remembered(kind: str, parts: tuple[object, ...], environ: Mapping[str, str], make: Callable[[], Listed]) -> Listed:
    """What `make` gives, which `parts` decide; made once and kept, for TOML takes long to read."""
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    try:
        return _listed(json_cache.read(environ, kind, key))
    except (TypeError, KeyError, ValueError):
        pass  # none, or damaged
    listed = make()
    json_cache.write(environ, kind, key, asdict(listed))
    return listed


def _listed(raw: Any) -> Listed:
    names = ("packages", "constraints", "extra_index_urls", "no_binary")
    return Listed(
        **{name: tuple(raw[name]) for name in names},
        hashes=tuple((name, tuple(several)) for name, several in raw["hashes"]),
        index_url=raw["index_url"],
        pre=raw["pre"],
    )
