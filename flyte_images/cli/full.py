"""Find the full directory when the system reports that no space is left, but not where."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping

from ..errors import FlyteImagesError
from ..store.cache_dir import cache_dir

_LITTLE = 1 << 20  # bytes; a file system with less free space counts as full


def full_disk(error: OSError, environ: Mapping[str, str]) -> FlyteImagesError | None:
    """Return the error that names the full directory. Return None for an error of another kind."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    directories = {str(cache_dir(environ)): "FLYTE_IMAGES_CACHE", tempfile.gettempdir(): "TMPDIR"}
    full = [path for path in directories if _free(path) < _LITTLE] if error.filename is None else [str(error.filename)]
    named = full or list(directories)
    message = str(error.strerror or os.strerror(error.errno)).lower()
    settings = " or ".join(directories[path] for path in named if path in directories)
    return FlyteImagesError(
        f"{message}: {' or '.join(f'`{path}`' for path in named)}",
        hint="free space there" + (f", or set {settings} to a directory with more space" if settings else ""),
    )


def _free(path: str) -> int:
    """Return the free bytes where a directory is, or will be made."""
    while not os.path.isdir(path) and path != os.path.dirname(path):  # noqa: PTH112, PTH120
        path = os.path.dirname(path)  # noqa: PTH120
    try:
        status = os.statvfs(path)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize
