"""Package files that the engine cannot fetch -> this machine, with its logins, CA bundle and proxies.

The engine fetches what everybody may have. An index that wants a login, has a private CA, or is reached from here alone
is this client's business: it fetches the file, checks its hash, and serves it. No login ever goes to the engine.

Bytes are written to a name of ours, in a file that only this user reads, until their hash is that of the package; only
then the file gets the name that its index gives it.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from flyte_images_layers.file_names import file_name
from flyte_images_runtime.system.diagnostics import timed
from flyte_images_runtime.system.interruptible import together

from ..errors import ResolveError
from .reader import Patience, Reader

__all__ = ["Patience", "Reader", "fetch", "open_local"]

_PATIENCE = Patience(window=30)
_LARGEST = 16 << 30  # bytes of a file of which an index does not say how large it is, or says more


class File(Protocol):
    """A package file: known by its hash, and where it was seen. A size of 0 is not known."""

    @property
    def filename(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def url(self) -> str: ...


def fetch(
    package: File,
    directory: Path,
    environ: Mapping[str, str],
    *,
    indexes: Iterable[str] = (),
    patience: Patience = _PATIENCE,
) -> Path:
    """Fetch a package into `directory` and return its file, which is what its hash says.

    `indexes` are the addresses of those that the image names. Raise ResolveError if the file cannot be fetched, is
    longer than its index says, or is something else.
    """
    name, host = file_name(package.filename), urlsplit(package.url).netloc.rpartition("@")[2]
    path = directory / f"download-{os.urandom(8).hex()}"
    try:
        reader = Reader(package.url, environ, patience, indexes)
        with timed("downloading %s from %s", name, host):
            [found] = together([lambda: _download(reader, package, path)], 1)
    except (OSError, ValueError) as error:
        path.unlink(missing_ok=True)
        raise ResolveError(
            f"{name} cannot be fetched from {host}: {error}",
            hint="does the index answer, and is the login right (~/.netrc, UV_INDEX_<NAME>_USERNAME and _PASSWORD)?",
        ) from None
    if found != package.sha256:
        path.unlink()
        raise ResolveError(
            f"{name} is not what its index says: its sha256 is {found}, not {package.sha256}",
            hint="--upgrade asks the index again; if it stays, the index or something before it is at fault",
        )
    return path.rename(directory / name)


def _download(reader: Reader, package: File, path: Path) -> str:
    """Write the file to `path` and return its sha256."""
    hashed = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with (
        open(descriptor, "wb") as file,
        reader.open(package.url, min(package.size, _LARGEST) or _LARGEST) as answer,
    ):
        for data in answer.chunks():
            hashed.update(data)
            try:
                file.write(data)
            except OSError as error:
                raise ResolveError(
                    f"{package.filename} cannot be written to `{path.parent}`: {error.strerror}",
                    hint="make room there, or set TMPDIR to a directory that has more",
                ) from None
    return hashed.hexdigest()


def open_local(path: Path) -> io.BufferedReader:
    """Open a package file of this machine. Raise OSError for what is not a file: a device or a pipe has no end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return open(descriptor, "rb")
