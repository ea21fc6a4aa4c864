"""What wheels have to fit, and which of those that fit is the best."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from flyte_images_runtime.system.platform import Platform

from ..errors import ResolveError

_ARCHITECTURES = ("amd64", "arm64")  # those for which wheels are resolved
_KNOWN_LIBCS = (17, 28, *range(31, 41))  # the glibc 2.x that uv has a name for
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_DEFAULT_LIBC = "2.28"  # what nearly every base of the last years has


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What wheels have to fit: Python X.Y, `linux/ARCHITECTURE`, and the glibc of the image (2.36, or empty)."""

    python: str
    platform: str
    libc: str

    @property
    def uv_platform(self) -> str:
        """The name that uv has for it.

        >>> Target(python="3.11", platform="linux/amd64", libc="2.36").uv_platform
        'x86_64-manylinux_2_36'
        """
        platform = Platform.parse(self.platform)
        if platform.architecture not in _ARCHITECTURES:
            raise ResolveError(
                f"no Python packages are resolved for `{self.platform}`", hint="linux/amd64, linux/arm64"
            )
        wanted = int((self.libc or _DEFAULT_LIBC).split(".")[1])
        minor = max((it for it in _KNOWN_LIBCS if it <= wanted), default=_KNOWN_LIBCS[0])
        return f"{platform.machine}-manylinux_2_{minor}"


def rank(filename: str, target: Target) -> int:
    """Where the best tag of a wheel stands among those that fit, the most special first, as for pip."""
    from packaging.utils import parse_wheel_filename

    ranks = _ranks(target)
    return min((ranks.get(str(tag), len(ranks)) for tag in parse_wheel_filename(filename)[3]), default=len(ranks))


@functools.lru_cache
def _ranks(target: Target) -> Mapping[str, int]:
    from packaging.tags import compatible_tags, cpython_tags

    python = tuple(map(int, target.python.split(".")))
    machine = Platform.parse(target.platform).machine
    platforms: list[str] = []
    for minor in range(int((target.libc or _DEFAULT_LIBC).split(".")[1]), 4, -1):
        old = _OLD_NAMES.get(minor)  # of PEP 513, 571 and 599
        platforms += [f"manylinux_2_{minor}_{machine}", *([f"{old}_{machine}"] if old else [])]
    platforms.append(f"linux_{machine}")
    interpreter = f"cp{python[0]}{python[1]}"
    tags = (*cpython_tags(python, platforms=platforms), *compatible_tags(python, interpreter, platforms))
    return {str(tag): number for number, tag in enumerate(dict.fromkeys(tags))}
