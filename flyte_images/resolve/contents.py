"""Which wheels of a set hold the same file, and whose is seen: as pip would have it, that of the one installed last.

A wheel's table of contents is at its end; that much is asked of the index, and no wheel is fetched for it. What was
seen is kept.
"""

from __future__ import annotations

import configparser
import http.client
import io
import posixpath
import threading
import urllib.request
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from flyte_images_layers.steps import Wheel

from ..fetch import opener
from ..store import json_cache

_AT_ONCE = 8
_TIMEOUT = 10.0  # seconds without a byte
_LEAST = 1 << 16  # bytes that are asked for at once
_MOST = 1 << 20  # bytes that are taken of an index that sends no part of a file, all the same
_SITE = "lib/site-packages"  # wherever it is

Files = Mapping[str, str]
"""Path in the environment -> what its content goes by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Packages that hold the same paths with other contents, by name, and those paths, sorted."""

    packages: tuple[str, ...]
    paths: tuple[str, ...]


def shared(wheels: Sequence[Wheel], environ: Mapping[str, str]) -> tuple[tuple[Shared, ...], tuple[str, ...]]:
    """Return what wheels share, and the names of those whose contents cannot be known now."""
    look = _Looking(environ).all
    known = {wheel.name: json_cache.read(environ, "tops", wheel.sha256) for wheel in wheels}
    files = look([wheel for wheel in wheels if not _are_names(known[wheel.name])])
    for wheel in wheels:
        if wheel.name in files:
            known[wheel.name] = _tops(files[wheel.name])
            json_cache.write(environ, "tops", wheel.sha256, known[wheel.name])
    # Nearly always each package has folders of its own, and no more has to be known.
    tops: dict[str, list[str]] = {name: found for name, found in known.items() if _are_names(found)}
    common = [name for name, count in Counter(it for found in tops.values() for it in found).items() if count > 1]
    suspects = {name for name, found in tops.items() if not set(found).isdisjoint(common)}
    files |= look([wheel for wheel in wheels if wheel.name in suspects - files.keys()])
    unknown = sorted({wheel.name for wheel in wheels} - (tops.keys() - suspects) - files.keys())
    return find({name: files[name] for name in sorted(suspects & files.keys())}), tuple(unknown)


def find(files: Mapping[str, Files]) -> tuple[Shared, ...]:
    """Group packages that hold the same path with other contents. Equal contents are no matter.

    >>> [it.packages for it in find({"a": {"x": "1", "y": "1"}, "b": {"x": "2"}, "c": {"y": "1"}})]
    [('a', 'b')]
    """
    owners: dict[str, list[str]] = {}
    for name, own in files.items():
        for path in own:
            owners.setdefault(path, []).append(name)
    group = {name: {name} for name in files}
    paths: dict[str, list[str]] = {}
    for path, names in owners.items():
        if len({files[name][path] for name in names}) > 1:
            paths[path] = names
            joined = set().union(*(group[name] for name in names))
            for name in joined:
                group[name] = joined
    groups = sorted({tuple(sorted(it)) for it in group.values() if len(it) > 1})
    return tuple(
        Shared(packages=it, paths=tuple(sorted(path for path, names in paths.items() if names[0] in it)))
        for it in groups
    )


def pip_order(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """Return packages in the order in which pip installs them, given what each needs.

    Those that need nothing (any more) come first, round after round, and within a round from z to a; a circle comes
    last. (With extras pip sees one package as two, which may put it elsewhere in its round.)

    >>> pip_order({"a": ["c"], "b": ["c"], "c": []})
    ['c', 'b', 'a']
    """
    left = {name: {it for it in others if it in needs and it != name} for name, others in needs.items()}
    order: list[str] = []
    while left:
        free = [name for name, others in left.items() if not others & left.keys()] or list(left)
        order += sorted(free, reverse=True)
        left = {name: others for name, others in left.items() if name not in free}
    return order


def installed(archive: zipfile.ZipFile) -> dict[str, str]:
    """What a wheel puts into an environment but for what is its own by name: path -> what its content goes by."""
    entries = [it for it in archive.infolist() if not it.filename.endswith("/")]
    info = next(it.filename for it in entries if it.filename.endswith(".dist-info/WHEEL")).partition("/")[0]
    data = info.removesuffix(".dist-info") + ".data/"
    files: dict[str, str] = {}
    for entry in entries:
        name, is_spread = entry.filename.removeprefix(data), entry.filename.startswith(data)
        key, _, rest = name.partition("/")
        place = posixpath.join(_KEYS.get(key, ""), rest) if is_spread else posixpath.join(_SITE, name)
        if not entry.filename.startswith(info + "/") and key != "headers":
            files[posixpath.normpath(place)] = f"{entry.CRC:08x}-{entry.file_size}"
    if f"{info}/entry_points.txt" in archive.namelist():
        scripts = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
        scripts.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep case
        scripts.read_string(archive.read(f"{info}/entry_points.txt").decode())
        for section in ("console_scripts", "gui_scripts"):
            if scripts.has_section(section):
                files |= {f"bin/{name}": target.strip() for name, target in scripts.items(section)}
    return files


_KEYS = {"purelib": _SITE, "platlib": _SITE, "scripts": "bin"}


def shown(path: str) -> str:
    """A path as Python sees it.

    >>> shown("lib/site-packages/cv2/version.py"), shown("bin/tool")
    ('cv2/version.py', 'bin/tool')
    """
    return path.removeprefix(f"{_SITE}/")


def _tops(files: Files) -> list[str]:
    """What a path begins with that tells packages apart: two that share no such beginning share no path."""
    return sorted({shown(path).partition("/")[0] if shown(path) != path else path for path in files})


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(it, str) for it in value)


class _Looking:
    """Looks into wheels; those that cannot be looked into now, for whatever reason, are unknown, and no error."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self._openers: dict[str, urllib.request.OpenerDirector] = {}
        self._lock = threading.Lock()

    def all(self, wheels: Sequence[Wheel]) -> dict[str, Files]:
        """What each of them puts into an environment, by name."""
        if not wheels:
            return {}
        with ThreadPoolExecutor(_AT_ONCE, "flyte-images-contents") as pool:
            found = zip(wheels, pool.map(self._files, wheels), strict=True)
            return {wheel.name: files for wheel, files in found if files is not None}

    def _files(self, wheel: Wheel) -> dict[str, str] | None:
        try:
            with self._open(wheel) as file, zipfile.ZipFile(file) as archive:
                return installed(archive)
        except (*_REFUSED, StopIteration):
            return None

    def _open(self, wheel: Wheel) -> BinaryIO:
        address = urlsplit(wheel.url)
        if address.scheme not in ("http", "https"):
            return open(unquote(address.path), "rb")
        with self._lock:  # to make one takes longer than to use it
            if address.netloc not in self._openers:
                self._openers[address.netloc] = opener(wheel.url, self.environ)
        return io.BufferedReader(_Remote(wheel.url, wheel.size, self._openers[address.netloc]), _LEAST)  # type: ignore[type-var]


# What an index that is away, refuses or lies makes the libraries raise (RuntimeError: an encrypted member).
_REFUSED = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    configparser.Error,
    http.client.HTTPException,
)


class _Remote(io.RawIOBase):
    """A file of an index, of which no more is fetched than is read; its end at once."""

    def __init__(self, url: str, size: int, opener: urllib.request.OpenerDirector) -> None:
        self._url, self._opener = url, opener
        self._place = 0
        self._parts: dict[int, bytes] = {}
        wanted = min(_LEAST + size // 64, _MOST)  # the table of nearly all: more is asked for where it is longer
        with self._get(f"bytes=-{wanted}") as answer:
            said = answer.headers.get("Content-Range", "")
            if answer.status != 206 and int(answer.headers.get("Content-Length") or _MOST) >= _MOST:
                raise OSError("it sends no part of a file")
            data = answer.read()
        self._size = int(said.rpartition("/")[2]) if answer.status == 206 else len(data)
        self._parts[self._size - len(data)] = data

    def _get(self, part: str) -> http.client.HTTPResponse:
        request = urllib.request.Request(self._url, headers={"Range": part})
        answer: http.client.HTTPResponse = self._opener.open(request, timeout=_TIMEOUT)
        return answer

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # it is given no other
        start, count = self._place, min(len(buffer), self._size - self._place)
        if count <= 0:
            return 0
        for begin, data in self._parts.items():
            if begin <= start < begin + len(data):
                found = data[start - begin : start - begin + count]
                break
        else:
            with self._get(f"bytes={start}-{max(start + count, start + _LEAST) - 1}") as answer:
                if answer.status != 206:
                    raise OSError("it sends no part of a file")
                self._parts[start] = answer.read()
            found = self._parts[start][:count]
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)
