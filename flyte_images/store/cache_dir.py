"""The cache directory of one user. It holds things that can be made again, is closed to others, and marked as a cache.

<cache>/oci     an OCI layout: bases, packed local files       (store/oci_layout.py)
<cache>/bases   a record of each base that was bootstrapped    (bootstrap/)
<cache>/context digests of local files that were read          (context/file_index.py)
<cache>/results results of tasks with cache="auto"             (runner/result_cache.py)
<cache>/files   files and directories that tasks returned      (runner/artifacts.py)
<cache>/runs.jsonl  the history of runs                        (runner/history.py)
<cache>/swept   the time of the last removal of leftovers, and the engines that were used (leftovers.py)
<cache>/logs    output of runs                                 (runner/run_logs.py)
<cache>/code    copies of source trees that tasks ran from     (runner/code_bundle.py)
<cache>/resolved packages that names were resolved to          (store/json_cache.py)
<cache>/rootfs  unpacked images of the engine `oci`
<cache>/bin     a buildkitd to start where no engine runs; its state is in <cache>/buildkitd (buildkit/local_daemon.py)
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
"""The file that marks a cache directory, so that backup programs skip it."""

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
    with contextlib.suppress(OSError):  # the directory does not exist yet; the next call checks again
        _take(path, os.geteuid())
    return path


def sweep(environ: Mapping[str, str]) -> int:
    """Remove leftovers of killed processes in the cache and in TMPDIR. Return their number.

    The first use of the cache in a process does this too.
    """
    return remove_leftovers(cache_dir(environ))


def is_cache(directory: str | bytes | Path) -> bool:
    """Return whether the directory is a cache of this package, of any user and with any name."""
    try:
        with open(os.path.join(os.fsdecode(directory), TAG), "rb") as file:  # noqa: PTH118
            return file.read(len(_TEXT)) == _TEXT
    except OSError:
        return False


@functools.lru_cache(maxsize=8)
def _take(path: Path, user: int) -> None:
    """Close the directory to other users, mark it as a cache and sweep it. Once a process."""
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        return
    if status.st_uid != user:
        raise SpecError(
            f"the cache directory `{path}` belongs to another user (uid {status.st_uid}; this is uid {user})",
            hint="set FLYTE_IMAGES_CACHE to a directory of this user, or give this one to this user with chown",
        )
    with contextlib.suppress(OSError):  # a read-only file system
        if status.st_mode & 0o077:
            path.chmod(0o700)
        if not is_cache(path):
            atomic.write(path / TAG, _TEXT, mode=0o644)
    remove_leftovers(path)


@functools.lru_cache(maxsize=8)
def _cache_dir(explicit: str, xdg: str, home: str) -> Path:
    if explicit:
        if not Path(explicit).is_absolute():
            raise SpecError(f"FLYTE_IMAGES_CACHE is not an absolute path: `{explicit}`", hint="start it with a slash")
        return Path(explicit)
    if Path(xdg).is_absolute():  # the XDG specification says to ignore relative paths
        return Path(xdg) / "flyte-images"
    if not Path(home).is_absolute():
        raise SpecError("the cache has no directory: HOME is not set", hint="set FLYTE_IMAGES_CACHE")
    return Path(home) / ".cache" / "flyte-images"


def layout_dir(environ: Mapping[str, str]) -> Path:
    """Return the OCI layout that all builds of this user share."""
    return cache_dir(environ) / "oci"
