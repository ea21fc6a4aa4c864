"""The record of which image a base was found to be, so that the next build asks neither an engine nor a registry.

The module reads a few small files and opens no connection: a build that changes nothing passes through here.
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


def recorded_base(base: Base, platform: str, environ: Mapping[str, str]) -> BaseImage | None:
    """Return the image that is recorded for `base`; None without a record, or if a blob of the layout is gone."""
    try:
        raw = json_cache.load(_record_path(base, platform, environ))
        if raw["format"] != _FORMAT or raw["wanted"] != _request(base, platform):
            return None
        image = BaseImage(**raw["found"])
    except (OSError, ValueError, LookupError, TypeError):
        return None  # no record, a damaged one, or one of another version of this package
    if image.origin == "layout" and not Layout(layout_dir(environ)).complete(image.digest):
        return None
    return image


def record_base(base: Base, platform: str, image: BaseImage, *, environ: Mapping[str, str]) -> None:
    """Record that `base` is `image`. Raise FlyteImagesError if the cache directory cannot be written."""
    value = {"format": _FORMAT, "wanted": _request(base, platform), "found": asdict(image)}
    write_record(_record_path(base, platform, environ), value)


def write_record(path: Path, value: object) -> None:
    """Write a record atomically: other processes may read it meanwhile."""
    try:
        json_cache.save(path, value)
    except OSError as error:
        raise FlyteImagesError(
            f"`{path.parent}` cannot be written: {error.strerror}",
            hint="free some space, check the permissions, or set FLYTE_IMAGES_CACHE to another directory",
        ) from None


def _request(base: Base, platform: str) -> list[str]:
    return [base.kind, *map(str, asdict(base).values()), platform]


def _record_path(base: Base, platform: str, environ: Mapping[str, str]) -> Path:
    name = hashlib.sha256("\0".join(_request(base, platform)).encode()).hexdigest()[:20]
    return cache_dir(environ) / "bases" / f"found-{name}.json"
