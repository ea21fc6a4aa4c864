"""Which wheels of a set hold the same file, and whose is seen: as pip would have it, that of the one installed last.

A wheel's table of contents is at its end; that much is asked of the index, and no wheel is fetched for it. What was
seen is kept.
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
_LEAST = 1 << 16  # bytes that are asked for at once
_MOST = 1 << 20  # bytes that are taken of an index that sends no part of a file, all the same
_WHOLE = 4 << 20  # bytes that are taken of one wheel: the tables of the largest have 2 MiB
_SECONDS = 120.0  # after which no more is looked at
_LARGEST = 16 << 30  # bytes of a wheel
_SCRIPTS = 1 << 20  # bytes of entry_points.txt: the longest have some 10,000
_SITE = "lib/site-packages"  # wherever it is

Files = Mapping[str, str]
"""Path in the environment -> what its content goes by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Packages that hold the same paths with other contents, by name, and those paths, sorted."""

    packages: tuple[str, ...]
    paths: tuple[str, ...]


def shared(
    wheels: Sequence[Wheel], environ: Mapping[str, str], indexes: Sequence[str] = ()
) -> tuple[tuple[Shared, ...], tuple[str, ...]]:
    """Return what wheels share, and the names of those whose contents cannot be known now.

    `indexes` are those that the image names.
    """
    look = _Looking(environ, indexes).all
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
        scripts.read_string(_text(archive, f"{info}/entry_points.txt"))
        for section in ("console_scripts", "gui_scripts"):
            if scripts.has_section(section):
                files |= {f"bin/{name}": target.strip() for name, target in scripts.items(section)}
    return files


def _text(archive: zipfile.ZipFile, name: str) -> str:
    """A short member; raise BadZipFile for one that is long once it is unpacked."""
    said = archive.getinfo(name)
    # What is packed in the other ways is unpacked by the chunk, however long that gets.
    if said.file_size > _SCRIPTS or said.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{name} is too long")
    with archive.open(name) as file:
        return file.read(_SCRIPTS).decode()


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
    """Looks into wheels; those that cannot be looked into now, for whatever reason, are unknown: no error."""

    def __init__(self, environ: Mapping[str, str], indexes: Sequence[str]) -> None:
        self.environ, self._indexes = environ, indexes
        self._readers: dict[str, Reader] = {}
        self._lock = threading.Lock()
        self._until = time.monotonic() + _SECONDS

    def all(self, wheels: Sequence[Wheel]) -> dict[str, Files]:
        """What each of them puts into an environment, by name."""
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
        with self._lock:  # to make one takes longer than to use it
            reader = self._readers.get(address.netloc)
            if reader is None:
                reader = self._readers[address.netloc] = Reader(wheel.url, self.environ, _PATIENCE, self._indexes)
        return io.BufferedReader(_Remote(wheel.url, wheel.size, reader, self._until), _LEAST)  # type: ignore[type-var]


# What an index that is away, refuses or lies makes the libraries raise (RuntimeError: an encrypted member).
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


class _Remote(io.RawIOBase):
    """A file of an index, of which no more is fetched than is read; its end at once."""

    def __init__(self, url: str, size: int, reader: Reader, until: float) -> None:
        self._url, self._reader, self._until = url, reader, until
        self._place, self._left = 0, _WHOLE
        self._parts: dict[int, bytes] = {}
        wanted = min(_LEAST + size // 64, _MOST)  # the table of nearly all: more is asked for where it is longer
        with self._reader.open(self._url, _MOST, f"bytes=-{wanted}") as answer:
            data = self._taken(answer.read())
        begin, self._size = 0, len(data)
        if answer.status == 206:
            begin, self._size = _range(answer.headers.get("Content-Range", ""))
        if begin + len(data) != self._size or self._size > _LARGEST or (size and self._size != size):
            raise OSError("it is not the end of that file")
        self._parts[begin] = data

    def _taken(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0 or time.monotonic() > self._until:
            raise OSError("too much has to be read of it")
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

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # it is given no other
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
                    raise OSError("it sends no part of a file")
                self._parts[start] = self._taken(answer.read())
            found = self._parts[start][:count]
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)


def _range(text: str) -> tuple[int, int]:
    """Where a part of a file begins, and the size of the whole; raise ValueError for anything else.

    >>> _range("bytes 5-9/10")
    (5, 10)
    """
    match = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", text)
    if match is None:
        raise ValueError(f"not a part of a file: {text[:80]!r}")
    return int(match[1]), int(match[2])
