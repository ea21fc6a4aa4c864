"""Where this package keeps what it can make again. Pure: a function of the environment that it is given.

<cache>/oci     an OCI layout: bases, packed local files       (store/oci_layout.py)
<cache>/bases   a record of each base that was bootstrapped    (bootstrap/)
<cache>/context which local file had which content             (context/index.py)
<cache>/results what tasks with cache="auto" have returned     (results.py)
<cache>/files   files and directories that tasks have returned (arrivals.py)
<cache>/runs.jsonl  what was run                               (history.py)
<cache>/logs    what those runs have printed                   (printed.py)
<cache>/code    copies of source trees that tasks were run from (shipping.py)
<cache>/bin     a buildkitd to start where nothing runs; its state is in <cache>/buildkitd (buildkit/ondemand.py)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from ..errors import SpecError


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
    return _cache_dir(*(environ.get(name, "") for name in names))


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
