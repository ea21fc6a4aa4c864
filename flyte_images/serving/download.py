"""Downloads the package files that the engine cannot fetch, with this machine's logins, CA bundle and proxies.

The engine fetches public files. If an index needs a login, has a private CA, or is reachable from this machine only,
this client downloads the file, checks its hash, and serves it. No login is sent to the engine.

The bytes go to a file with a random name that only this user can read. When their hash is that of the package, the file
gets the name that the index gives it.
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

__all__ = ["Patience", "Reader", "download", "open_local"]

_PATIENCE = Patience(window=30)
_MAX_SIZE = 16 << 30  # bytes of a file whose size the index does not give, or gives larger


class PackageFile(Protocol):
    """A package file: its hash, and the address where an index offers it. A size of 0 means unknown."""

    @property
    def filename(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def url(self) -> str: ...


def download(
    package: PackageFile,
    directory: Path,
    environ: Mapping[str, str],
    *,
    indexes: Iterable[str] = (),
    patience: Patience = _PATIENCE,
) -> Path:
    """Download a package into `directory`, check its hash, and return the path of the file.

    `indexes` holds the addresses of the indexes that the image names. Raise ResolveError if the file cannot be fetched,
    is longer than its index says, or has another hash.
    """
    name, host = file_name(package.filename), urlsplit(package.url).netloc.rpartition("@")[2]
    path = directory / f"download-{os.urandom(8).hex()}"
    try:
        reader = Reader(package.url, environ, patience, indexes)
        with timed("downloading %s from %s", name, host):
            [sha256] = together([lambda: _download(reader, package, path)], 1)
    except (OSError, ValueError) as error:
        path.unlink(missing_ok=True)
        raise ResolveError(
            f"{name} cannot be fetched from {host}: {error}",
            hint="check the network and the login (~/.netrc, UV_INDEX_<NAME>_USERNAME and _PASSWORD)",
        ) from None
    if sha256 != package.sha256:
        path.unlink()
        raise ResolveError(
            f"{name} is not the file that its index names: its sha256 is {sha256}, not {package.sha256}",
            hint="ask the index again: --upgrade; if the error stays, the index or a proxy before it is faulty",
        )
    return path.rename(directory / name)


def _download(reader: Reader, package: PackageFile, path: Path) -> str:
    """Write the file to `path` and return its sha256."""
    hashed = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with (
        open(descriptor, "wb") as file,
        reader.open(package.url, min(package.size, _MAX_SIZE) or _MAX_SIZE) as response,
    ):
        for data in response.chunks():
            hashed.update(data)
            try:
                file.write(data)
            except OSError as error:
                raise ResolveError(
                    f"{package.filename} cannot be written to `{path.parent}`: {error.strerror}",
                    hint="free some space, or set TMPDIR to a directory that has more",
                ) from None
    return hashed.hexdigest()


def open_local(path: Path) -> io.BufferedReader:
    """Open a package file of this machine. Raise OSError if it is not a regular file: a device or a pipe has no end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return open(descriptor, "rb")
