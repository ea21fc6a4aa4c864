"""The directory that is full, where the system says that there is no space left and not where."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping

from ..errors import FlyteImagesError
from ..store.cache_dir import cache_dir

_LITTLE = 1 << 20  # bytes free of a file system that is full


def full_disk(error: OSError, environ: Mapping[str, str]) -> FlyteImagesError | None:
    """Return the error that names the full place; None for an error of another kind."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    places = {str(cache_dir(environ)): "FLYTE_IMAGES_CACHE", tempfile.gettempdir(): "TMPDIR"}
    full = [place for place in places if _free(place) < _LITTLE] if error.filename is None else [str(error.filename)]
    named = full or list(places)
    said = str(error.strerror or os.strerror(error.errno)).lower()
    settings = " or ".join(places.get(place, "") for place in named if place in places)
    return FlyteImagesError(
        f"{said}: {' or '.join(f'`{place}`' for place in named)}",
        hint="make room there" + (f", or set {settings} to a directory that has more" if settings else ""),
    )


def _free(place: str) -> int:
    """Bytes that are free where a directory is, or will be made."""
    while not os.path.isdir(place) and place != os.path.dirname(place):  # noqa: PTH112, PTH120
        place = os.path.dirname(place)  # noqa: PTH120
    try:
        found = os.statvfs(place)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize
