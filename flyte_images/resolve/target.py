"""The target that wheels must fit, and the rank of the wheels that fit."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from flyte_images_runtime.system.platform import Platform

from ..errors import ResolveError

_ARCHITECTURES = ("amd64", "arm64")  # those for which wheels are resolved
_KNOWN_LIBCS = (17, 28, *range(31, 41))  # the minor versions of glibc 2 for which uv has a name
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_DEFAULT_LIBC = "2.28"  # at most the version of nearly every recent base


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The target of wheels: Python X.Y, `linux/ARCHITECTURE`, and the glibc of the image (2.36, or empty)."""

    python: str
    platform: str
    libc: str

    @property
    def uv_platform(self) -> str:
        """The platform as uv names it.

        >>> Target(python="3.11", platform="linux/amd64", libc="2.36").uv_platform
        'x86_64-manylinux_2_36'
        """
        platform = Platform.parse(self.platform)
        if platform.architecture not in _ARCHITECTURES:
            raise ResolveError(
                f"Python packages for `{self.platform}` are not supported", hint="supported: linux/amd64, linux/arm64"
            )
        wanted = int((self.libc or _DEFAULT_LIBC).split(".")[1])
        minor = max((known for known in _KNOWN_LIBCS if known <= wanted), default=_KNOWN_LIBCS[0])
        return f"{platform.machine}-manylinux_2_{minor}"


def rank(filename: str, target: Target) -> int:
    """Return the rank of a wheel's best tag, as in pip: 0 is the most specific."""
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
