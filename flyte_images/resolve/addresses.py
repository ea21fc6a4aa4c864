"""The addresses of the files of a lock, which names files by hash alone.

The user's cache directory has the addresses that this machine has seen. For other files the index, or the archives of
the image, must offer the same versions with the same hashes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from flyte_images_layers import PythonRequirements
from flyte_images_layers.steps import Deb, Sdist, Wheel

from ..buildkit.build_context import BuildContext
from ..errors import ResolveError
from ..image import Image
from ..plan.lock import LayerLock, Lock
from ..plan.model import Plan, packages, readdressed
from ..store import json_cache

_File = TypeVar("_File", Wheel, Deb)
_KIND = "address"


def remember(files: Iterable[Wheel | Sdist | Deb], environ: Mapping[str, str]) -> None:
    """Record the addresses of files."""
    for file in files:
        if file.url and json_cache.read(environ, _KIND, file.sha256) != file.url:
            json_cache.write(environ, _KIND, file.sha256, file.url)


def find(lock: Lock, image: Image, context: BuildContext, *, platform: str) -> Lock:
    """Return the lock with the address of every file. Raise ResolveError if a file is no longer offered."""
    asker = _AddressFinder(lock, image, platform, context)
    layers = tuple(asker.layer(index, entry) for index, entry in enumerate(lock.layers))
    return replace(lock, layers=layers)


def fresh(made: Plan, image: Image, environ: Mapping[str, str]) -> Plan:
    """Return a plan with the current addresses of its Python files, as far as the index still has them.

    Recorded addresses may belong to a mirror that is gone.
    """
    from . import uv

    python = image.python
    libc = (made.toolchain or made.base).libc
    target = uv.Target(python=python, platform=made.platform, libc=libc)
    asked = [it for layer in image.layers if (it := layer.python_requirements())]
    files = [file for file in packages(made) if not isinstance(file, Deb)]
    urls: dict[str, str] = {}
    for file in files:
        like = _exactly([file], asked[0])
        with contextlib.suppress(ResolveError):  # no longer offered: the old address stays
            answer = uv.ask([like, *(part.indexes for part in asked[1:])], target, environ=environ, deps=False)
            urls |= answer.offered
    remember([replace(file, url=urls.get(file.sha256, "")) for file in files], environ)
    return readdressed(made, urls)


class _AddressFinder:
    def __init__(self, lock: Lock, image: Image, platform: str, context: BuildContext) -> None:
        self.lock, self.image, self.platform = lock, image, platform
        self.environ, self.connect = context.environ, context.connect
        self._python: dict[str, str] | None = None

    def layer(self, index: int, entry: LayerLock) -> LayerLock:
        sdists = tuple(
            replace(sdist, url=self._url(sdist.sha256, self._from_index), build=self._all(sdist.build))
            for sdist in entry.sdists
        )
        return replace(entry, wheels=self._all(entry.wheels), sdists=sdists, debs=self._debs(entry.debs))

    def _all(self, wheels: Sequence[Wheel]) -> tuple[Wheel, ...]:
        return tuple(
            wheel if wheel.url else replace(wheel, url=self._url(wheel.sha256, self._from_index)) for wheel in wheels
        )

    def _url(self, sha256: str, ask: Callable[[], Mapping[str, str]]) -> str:
        seen = json_cache.read(self.environ, _KIND, sha256)
        if isinstance(seen, str):
            return seen
        found = ask()
        if sha256 not in found:
            raise ResolveError(
                f"no index offers the locked file with sha256 {sha256}",
                hint="the lock may be from another index, or the file was withdrawn: flyte-images lock --upgrade",
            )
        return found[sha256]

    def _from_index(self) -> Mapping[str, str]:
        """Return the addresses of all Python files of the lock, by sha256. The index is asked once."""
        if self._python is None:
            from . import uv

            target = uv.Target(python=self.image.python, platform=self.platform, libc=self.lock.base.libc)
            asked = [it for layer in self.image.layers if (it := layer.python_requirements())]
            self._python = {}
            for group in self._groups():
                like = [_exactly(group, asked[0]), *(part.indexes for part in asked[1:])]
                answer = uv.ask(like, target, environ=self.environ, deps=False)
                self._python |= answer.offered
            for group in self._groups():
                remember([replace(file, url=self._python.get(file.sha256, "")) for file in group], self.environ)
        return self._python

    def _groups(self) -> list[list[Wheel | Sdist]]:
        """The files of the environment, and those of each build from source: each group has its own versions."""
        sdists = [sdist for entry in self.lock.layers for sdist in entry.sdists]
        environment: list[Wheel | Sdist] = [wheel for entry in self.lock.layers for wheel in entry.wheels]
        builds: list[list[Wheel | Sdist]] = [[*sdist.build] for sdist in sdists]
        return [[*environment, *sdists], *builds]

    def _debs(self, debs: Sequence[Deb]) -> tuple[Deb, ...]:
        missing = [deb for deb in debs if not deb.url and json_cache.read(self.environ, _KIND, deb.sha256) is None]
        if missing:
            from . import apt

            offered = apt.exact(missing, self.lock.base, self.platform, client=self.connect(), environ=self.environ)
            remember(offered, self.environ)
        return tuple(deb if deb.url else replace(deb, url=self._url(deb.sha256, dict)) for deb in debs)


def _exactly(files: Sequence[Wheel | Sdist], asked: PythonRequirements) -> PythonRequirements:
    """Return requirements for exactly these files, from the indexes of `asked`."""
    return replace(
        asked.indexes,
        requirements=tuple(f"{file.name}=={file.version}" for file in files),
        no_binary=tuple(file.name for file in files if not isinstance(file, Wheel)),
    )
