"""A source distribution -> what is needed to build its wheel. Fetches it, reads its pyproject.toml, runs nothing."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import posixpath
import re
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from flyte_images_layers.file_names import file_name

from ..errors import ResolveError
from ..serving.download import download
from ..store.leftovers import temporary_directory

_MAX_PYPROJECT = 1 << 20  # bytes
_UNPACKED = 4 << 30  # bytes of an archive up to its pyproject.toml
_MAX_READ = 1 << 24  # bytes of one read
_SHOWN = 200  # characters of a library's message that an error repeats
_UNREADABLE = (
    *(tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error),
    *(OSError, ValueError, RuntimeError, MemoryError, IndexError),
)

_DEFAULT = {"requires": ["setuptools>=40.8.0"], "build-backend": "setuptools.build_meta:__legacy__"}  # PEP 517, 518


# Messages for a missing program of the system: distutils, the shell, autoconf, meson, cmake, rustc, make.
_NO_PROGRAM = re.compile(
    r"(?:unable to execute|command) '(\S*?/)?(?P<a>[\w.+-]+)'(?: failed)?: No such file"
    r"|(?P<b>[\w.+-]+): (?:command )?not found"
    r"|\[Errno 2\] No such file or directory: '(?P<c>[\w.+-]+)'"
    r"|no acceptable (?P<d>C compiler)|Unknown compiler\(s\): \[+'(?P<e>[\w.+-]+)'|No CMAKE_\w+_(?P<f>COMPILER) could"
    r"|linker `(?P<g>[\w.+-]+)` not found|(?P<h>pg_config|mysql_config|curl-config|xml2-config)\b.* not found"
)
_NO_HEADER = re.compile(r"fatal error: (?P<name>\S+\.h(?:pp)?): No such file")
_NO_LIBRARY = re.compile(r"cannot find -l(?P<name>[^\s:]+)")
_COMPILERS = re.compile(r"(\w+-)*(cc|gcc|g\+\+|c\+\+|clang|clang\+\+|ld|make|icc)(-[\d.]+)?|C compiler|COMPILER")


def remedy(log: str, python: str) -> str:
    """Return the remedy for a failed build from source, by its log; `python` is the path of the interpreter.

    >>> remedy("error: command 'gcc' failed: No such file or directory", "/usr/local/bin/python3.11")
    'it needs a compiler: .with_apt_packages("build-essential") above the line that asks for it'
    """
    # Debian's own Python has its headers in a package of their own; one in /usr/local has them beside it.
    headers = ', "python3-dev"' if python.startswith("/usr/bin/") else ""
    above = "above the line that asks for it"
    if found := _NO_PROGRAM.search(log):
        name = next(program for program in found.group("a", "b", "c", "d", "e", "f", "g", "h") if program)
        if _COMPILERS.fullmatch(name):
            return f'it needs a compiler: .with_apt_packages("build-essential"{headers}) {above}'
        return f"it needs `{name}`: .with_apt_packages(the Debian package that has it) {above}"
    if found := _NO_HEADER.search(log):
        package = '"python3-dev"' if found["name"] == "Python.h" else "the -dev package that has it"
        return f"it needs `{found['name']}`: .with_apt_packages({package}) {above}"
    if found := _NO_LIBRARY.search(log):
        return f"it needs the library `{found['name']}`: .with_apt_packages(the -dev package that has it) {above}"
    return (
        "the build has no network, and has the apt packages and commands above the line that asks for it: add what is "
        "missing there; or name a version that has a wheel"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDist:
    """A source distribution that an index offers."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    url: str

    def __post_init__(self) -> None:
        file_name(self.filename)


def build_requirements(source: SourceDist, environ: Mapping[str, str], indexes: Sequence[str] = ()) -> tuple[str, ...]:
    """Download a source distribution and return the build requirements of its pyproject.toml (PEP 518).

    Raise ResolveError if the file cannot be fetched, has another hash, or is not an archive.
    """
    with temporary_directory("sdist") as place:
        path = download(source, Path(place), environ, indexes=indexes)
        try:
            project = tomllib.loads(_pyproject(path))
        except _UNREADABLE as error:
            raise ResolveError(f"{source.filename} cannot be read: {str(error)[:_SHOWN]}") from None
    system = project.get("build-system", _DEFAULT)
    requires = system.get("requires", _DEFAULT["requires"]) if isinstance(system, dict) else None
    if not isinstance(requires, list) or not all(isinstance(line, str) and _is_line(line) for line in requires):
        raise ResolveError(
            f"the pyproject.toml of {source.filename} has no valid list of build requirements",
            hint="name another version, or one that has a wheel",
        )
    return tuple(requires)


def _pyproject(path: Path) -> str:
    """Return the text of the pyproject.toml at the top of an archive, or an empty text. Raise ValueError if it is long.

    The unpacked bytes are counted: a small archive may hold more than any disk.
    """
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            found = next((entry for entry in archive.infolist() if _is_top(entry.filename)), None)
            if found is None:
                return ""
            if found.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("its pyproject.toml has an unusual compression")
            with archive.open(found) as text:
                return _short(text)
    with path.open("rb") as packed:
        start = packed.read(3)
    unpacking = {b"\x1f\x8b\x08": gzip.open, b"BZh": bz2.open}.get(start, open)
    counted: Any = _Counted(unpacking(path, "rb"))  # type: ignore[operator]
    with contextlib.closing(counted), tarfile.open(fileobj=counted, mode="r:") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() and _is_top(member.name) else None
            if file is not None:
                return _short(file)
    return ""


class _Counted:
    """A stream with a limit of unpacked bytes in all, and of bytes in one read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.tell, self.close = stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_READ:
            raise ValueError("one of its parts is too long")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence or offset > _UNPACKED:
            raise ValueError(f"it holds more than {_UNPACKED >> 30} GiB")
        return self._stream.seek(offset)


def _short(file: IO[bytes]) -> str:
    text = file.read(_MAX_PYPROJECT + 1)
    if len(text) > _MAX_PYPROJECT:
        raise ValueError("its pyproject.toml is longer than a megabyte")
    return text.decode()


def _is_line(text: str) -> bool:
    """Return whether a requirement is one line and not an option, for it becomes a line of a file that uv reads."""
    return text.isprintable() and not text.lstrip().startswith("-")


def _is_top(name: str) -> bool:
    folder, base = posixpath.split(posixpath.normpath(name))
    return base == "pyproject.toml" and bool(folder) and "/" not in folder
