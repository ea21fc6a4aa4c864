"""The wheels of a set that hold the same file. As with pip, the file of the wheel that is installed last is visible.

The table of contents is at the end of a wheel. Only that part is requested from the index, and the result is cached.
"""

from __future__ import annotations

import configparser
import functools
import io
import posixpath
import re
import threading
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from flyte_images_layers.steps import Wheel
from flyte_images_runtime.system.interruptible import together

from ..serving.download import Patience, Reader, open_local
from ..store import json_cache

_AT_ONCE = 8
_PATIENCE = Patience(window=10)
_LEAST = 1 << 16  # bytes of the smallest request
_MOST = 1 << 20  # bytes of one response, also from an index that ignores ranges
_WHOLE = 4 << 20  # bytes from one wheel: the tables of the largest have 2 MiB
_SECONDS = 120.0  # for all wheels; later ones count as unknown
_LARGEST = 16 << 30  # bytes of a wheel
_SCRIPTS = 1 << 20  # bytes of entry_points.txt: the longest have some 10,000
_SITE = "lib/site-packages"  # stands for any such directory

Files = Mapping[str, str]
"""Path in the environment -> a text that identifies the content (checksum and size)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPaths:
    """Packages, by name, that hold the same paths with different contents, and those paths, sorted."""

    packages: tuple[str, ...]
    paths: tuple[str, ...]


def shared(
    wheels: Sequence[Wheel], environ: Mapping[str, str], indexes: Sequence[str] = ()
) -> tuple[tuple[SharedPaths, ...], tuple[str, ...]]:
    """Return the paths that wheels share, and the names of wheels whose contents could not be read.

    `indexes` holds the addresses of the indexes that the image names.
    """
    look = _WheelInspector(environ, indexes).all
    known = {wheel.name: json_cache.read(environ, "tops", wheel.sha256) for wheel in wheels}
    files = look([wheel for wheel in wheels if not _are_names(known[wheel.name])])
    for wheel in wheels:
        if wheel.name in files:
            known[wheel.name] = _tops(files[wheel.name])
            json_cache.write(environ, "tops", wheel.sha256, known[wheel.name])
    # Nearly always each package has its own folders, and no other check is needed.
    tops: dict[str, list[str]] = {name: found for name, found in known.items() if _are_names(found)}
    common = [name for name, count in Counter(top for found in tops.values() for top in found).items() if count > 1]
    suspects = {name for name, found in tops.items() if not set(found).isdisjoint(common)}
    files |= look([wheel for wheel in wheels if wheel.name in suspects - files.keys()])
    unknown = sorted({wheel.name for wheel in wheels} - (tops.keys() - suspects) - files.keys())
    return find({name: files[name] for name in sorted(suspects & files.keys())}), tuple(unknown)


def find(files: Mapping[str, Files]) -> tuple[SharedPaths, ...]:
    """Group packages that hold the same path with different contents. Equal contents do not count.

    >>> [shared.packages for shared in find({"a": {"x": "1", "y": "1"}, "b": {"x": "2"}, "c": {"y": "1"}})]
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
    groups = sorted({tuple(sorted(members)) for members in group.values() if len(members) > 1})
    return tuple(
        SharedPaths(packages=members, paths=tuple(sorted(path for path, names in paths.items() if names[0] in members)))
        for members in groups
    )


def pip_order(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """Return packages in the order in which pip installs them, given what each needs.

    In each round come the packages whose requirements are all installed, from z to a; a circle comes last. (For pip a
    package with extras is two packages, which may change its place in the round.)

    >>> pip_order({"a": ["c"], "b": ["c"], "c": []})
    ['c', 'b', 'a']
    """
    left = {name: {other for other in others if other in needs and other != name} for name, others in needs.items()}
    order: list[str] = []
    while left:
        free = [name for name, others in left.items() if not others & left.keys()] or list(left)
        order += sorted(free, reverse=True)
        left = {name: others for name, others in left.items() if name not in free}
    return order


def installed(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return the files that a wheel installs, except its .dist-info and headers: path -> content."""
    entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    info = next(entry.filename for entry in entries if entry.filename.endswith(".dist-info/WHEEL")).partition("/")[0]
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
        scripts.read_string(_text(archive, f"{info}/entry_points.txt"))
        for section in ("console_scripts", "gui_scripts"):
            if scripts.has_section(section):
                files |= {f"bin/{name}": target.strip() for name, target in scripts.items(section)}
    return files


def _text(archive: zipfile.ZipFile, name: str) -> str:
    """Return the text of a short member. Raise BadZipFile if it is long when unpacked."""
    member = archive.getinfo(name)
    # zipfile unpacks other compressions by chunks of unlimited size.
    if member.file_size > _SCRIPTS or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{name} is too long")
    with archive.open(name) as file:
        return file.read(_SCRIPTS).decode()


_KEYS = {"purelib": _SITE, "platlib": _SITE, "scripts": "bin"}


def shown(path: str) -> str:
    """Return a path as Python names it.

    >>> shown("lib/site-packages/cv2/version.py"), shown("bin/tool")
    ('cv2/version.py', 'bin/tool')
    """
    return path.removeprefix(f"{_SITE}/")


def _tops(files: Files) -> list[str]:
    """Return the first parts of paths: packages without a common first part have no common path."""
    return sorted({shown(path).partition("/")[0] if shown(path) != path else path for path in files})


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


class _WheelInspector:
    """Reads the contents of wheels. A wheel that cannot be read, for any reason, is left out: not an error."""

    def __init__(self, environ: Mapping[str, str], indexes: Sequence[str]) -> None:
        self.environ, self._indexes = environ, indexes
        self._readers: dict[str, Reader] = {}
        self._lock = threading.Lock()
        self._until = time.monotonic() + _SECONDS

    def all(self, wheels: Sequence[Wheel]) -> dict[str, Files]:
        """Return the files that each wheel installs, by the name of the wheel."""
        found = together([functools.partial(self._files, wheel) for wheel in wheels], _AT_ONCE)
        return {wheel.name: files for wheel, files in zip(wheels, found, strict=True) if files is not None}

    def _files(self, wheel: Wheel) -> dict[str, str] | None:
        if time.monotonic() > self._until:
            return None
        try:
            with self._open(wheel) as file, zipfile.ZipFile(file) as archive:
                return installed(archive)
        except (*_REFUSED, StopIteration):
            return None

    def _open(self, wheel: Wheel) -> BinaryIO:
        address = urlsplit(wheel.url)
        if address.scheme not in ("http", "https"):
            return open_local(Path(unquote(address.path)))
        with self._lock:  # making a reader takes longer than using one
            reader = self._readers.get(address.netloc)
            if reader is None:
                reader = self._readers[address.netloc] = Reader(wheel.url, self.environ, _PATIENCE, self._indexes)
        return io.BufferedReader(_RemoteFile(wheel.url, wheel.size, reader, self._until), _LEAST)  # type: ignore[type-var]


# Errors of the libraries for an index that is away, refuses or lies (RuntimeError: an encrypted member).
_REFUSED = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    configparser.Error,
    MemoryError,
)


class _RemoteFile(io.RawIOBase):
    """A file of an index: its end is fetched at once, other parts when they are read."""

    def __init__(self, url: str, size: int, reader: Reader, until: float) -> None:
        self._url, self._reader, self._until = url, reader, until
        self._place, self._left = 0, _WHOLE
        self._parts: dict[int, bytes] = {}
        wanted = min(_LEAST + size // 64, _MOST)  # holds nearly every table; a longer one takes a second request
        with self._reader.open(self._url, _MOST, f"bytes=-{wanted}") as answer:
            data = self._taken(answer.read())
        begin, self._size = 0, len(data)
        if answer.status == 206:
            begin, self._size = _range(answer.headers.get("Content-Range", ""))
        if begin + len(data) != self._size or self._size > _LARGEST or (size and self._size != size):
            raise OSError("the response is not the end of the file")
        self._parts[begin] = data

    def _taken(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0 or time.monotonic() > self._until:
            raise OSError("the file takes too many bytes or too long")
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # zipfile passes a bytearray
        start, count = self._place, min(len(buffer), self._size - self._place)
        if count <= 0:
            return 0
        for begin, data in self._parts.items():
            if begin <= start < begin + len(data):
                found = data[start - begin : start - begin + count]
                break
        else:
            end = min(start + min(max(count, _LEAST), _MOST), self._size)
            with self._reader.open(self._url, end - start, f"bytes={start}-{end - 1}") as answer:
                if answer.status != 206 or _range(answer.headers.get("Content-Range", "")) != (start, self._size):
                    raise OSError("the server ignores ranges")
                self._parts[start] = self._taken(answer.read())
            found = self._parts[start][:count]
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)


def _range(text: str) -> tuple[int, int]:
    """Return the start of a part of a file, and the size of the file. Raise ValueError for any other text.

    >>> _range("bytes 5-9/10")
    (5, 10)
    """
    match = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", text)
    if match is None:
        raise ValueError(f"not a part of a file: {text[:80]!r}")
    return int(match[1]), int(match[2])
