"""Which image a base was found to be, and the record of it, so that the next build asks nobody.

Reads a few small files and dials nothing: a build that changes nothing goes through here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from flyte_images_layers import Base

from ..errors import FlyteImagesError
from ..store import json_cache
from ..store.cache_dir import cache_dir, layout_dir
from ..store.oci_layout import Layout
from .base_image import BaseImage

_FORMAT = 2


def known_base(base: Base, platform: str, environ: Mapping[str, str]) -> BaseImage | None:
    """What `base` was found to be on this machine, if that is known and a layout still holds it in full."""
    try:
        raw = json_cache.load(_record(base, platform, environ))
        if raw["format"] != _FORMAT or raw["wanted"] != _wanted(base, platform):
            return None
        found = BaseImage(**raw["found"])
    except (OSError, ValueError, LookupError, TypeError):
        return None  # none, damaged, or of another version of this package: it is found again
    if found.origin == "layout" and not Layout(layout_dir(environ)).complete(found.digest):
        return None
    return found


def remember(base: Base, platform: str, found: BaseImage, *, environ: Mapping[str, str]) -> None:
    """Write what `base` was found to be, whole or not at all."""
    value = {"format": _FORMAT, "wanted": _wanted(base, platform), "found": asdict(found)}
    write_record(_record(base, platform, environ), value)


def write_record(path: Path, value: object) -> None:
    """Write a record under its name when it is whole: others may be reading."""
    try:
        json_cache.save(path, value)
    except OSError as error:
        raise FlyteImagesError(
            f"`{path.parent}` cannot be written: {error.strerror}",
            hint="make room there, check its permissions, or set FLYTE_IMAGES_CACHE to another directory",
        ) from None


def _wanted(base: Base, platform: str) -> list[str]:
    return [base.kind, *map(str, asdict(base).values()), platform]


def _record(base: Base, platform: str, environ: Mapping[str, str]) -> Path:
    name = hashlib.sha256("\0".join(_wanted(base, platform)).encode()).hexdigest()[:20]
    return cache_dir(environ) / "bases" / f"found-{name}.json"
