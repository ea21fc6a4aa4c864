"""The cache directory: what can be made again. It is one user's, closed to others, and marked as a cache.

<cache>/oci     an OCI layout: bases, packed local files       (store/oci_layout.py)
<cache>/bases   a record of each base that was bootstrapped    (bootstrap/)
<cache>/context which local file had which content             (context/index.py)
<cache>/results what tasks with cache="auto" have returned     (results.py)
<cache>/files   files and directories that tasks have returned (arrivals.py)
<cache>/runs.jsonl  what was run                               (history.py)
<cache>/swept       when leftovers were looked for last, and on which engines  (leftovers.py)
<cache>/logs    what those runs have printed                   (printed.py)
<cache>/code    copies of source trees that tasks were run from (shipping.py)
<cache>/resolved what names were resolved to                   (json_cache.py)
<cache>/rootfs  unpacked images of the engine `oci`
<cache>/bin     a buildkitd to start where nothing runs; its state is in <cache>/buildkitd (buildkit/ondemand.py)
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from flyte_images_runtime.system import atomic

from ..errors import SpecError
from .leftovers import remove_leftovers

TAG = "CACHEDIR.TAG"
"""The file by which programs know a cache directory, so that they leave the directory out of backups."""

_TEXT = b"""Signature: 8a477f597d28d172789f06886806bc55
# This directory is a cache of flyte-images: all of it can be made again.
# It is never a part of a source tree that is copied or packed.
"""


def cache_dir(environ: Mapping[str, str]) -> Path:
    """Return FLYTE_IMAGES_CACHE, else `flyte-images` in XDG_CACHE_HOME, else in ~/.cache.

    >>> str(cache_dir({"HOME": "/home/ada"}))
    '/home/ada/.cache/flyte-images'
    >>> str(cache_dir({"HOME": "/home/ada", "XDG_CACHE_HOME": "/big/cache"}))
    '/big/cache/flyte-images'
    >>> str(cache_dir({"FLYTE_IMAGES_CACHE": "/ci/cache"}))
    '/ci/cache'
    """
    names = ("FLYTE_IMAGES_CACHE", "XDG_CACHE_HOME", "HOME")
    path = _cache_dir(*(environ.get(name, "") for name in names))
    with contextlib.suppress(OSError):  # not made yet: it is looked at again
        _take(path, os.geteuid())
    return path


def sweep(environ: Mapping[str, str]) -> int:
    """Remove what killed processes left in the cache and in TMPDIR; return how many things there were.

    The first use of the cache in a process does so too.
    """
    return remove_leftovers(cache_dir(environ))


def is_cache(directory: str | bytes | Path) -> bool:
    """Return whether the directory is a cache of this package, whatever its name and whoever's it is."""
    try:
        with open(os.path.join(os.fsdecode(directory), TAG), "rb") as file:  # noqa: PTH118
            return file.read(len(_TEXT)) == _TEXT
    except OSError:
        return False


@functools.lru_cache(maxsize=8)
def _take(path: Path, user: int) -> None:
    """Close the directory to other users, mark it as a cache and sweep it: once a process, when it is there."""
    seen = path.stat()
    if not stat.S_ISDIR(seen.st_mode):
        return
    if seen.st_uid != user:
        raise SpecError(
            f"the cache directory `{path}` belongs to another user (uid {seen.st_uid}; this is uid {user})",
            hint="set FLYTE_IMAGES_CACHE to a directory of this user, or give this one to this user with chown",
        )
    with contextlib.suppress(OSError):  # a file system that is read-only: nothing new is written there
        if seen.st_mode & 0o077:
            path.chmod(0o700)
        if not is_cache(path):
            atomic.write(path / TAG, _TEXT, mode=0o644)
    remove_leftovers(path)


@functools.lru_cache(maxsize=8)
def _cache_dir(own: str, shared: str, home: str) -> Path:
    if own:
        if not Path(own).is_absolute():
            raise SpecError(f"FLYTE_IMAGES_CACHE is not an absolute path: `{own}`", hint="start it with a slash")
        return Path(own)
    if Path(shared).is_absolute():  # the XDG specification has relative ones ignored
        return Path(shared) / "flyte-images"
    if not Path(home).is_absolute():
        raise SpecError("there is no place for the cache: HOME is not set", hint="set FLYTE_IMAGES_CACHE")
    return Path(home) / ".cache" / "flyte-images"


def layout_dir(environ: Mapping[str, str]) -> Path:
    """The OCI layout that all images made on this machine share."""
    return cache_dir(environ) / "oci"
