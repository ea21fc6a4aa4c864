"""Package files that the engine cannot fetch -> this machine, with its logins, CA bundle and proxies.

The engine fetches what everybody may have. An index that wants a login, has a private CA, or is reached from here alone
is this client's business: it fetches the file, checks its hash, and serves it. No login ever goes to the engine.
"""

from __future__ import annotations

import functools
import hashlib
import netrc
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from .errors import ResolveError

_CHUNK = 1 << 20
_TIMEOUT = 60.0  # seconds without a byte
_SETTINGS = (
    *("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"),
    "UV_FIND_LINKS",
)


def login(url: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The user and password that this machine has for the host of `url`.

    It is in an index address of uv's or pip's settings, in UV_INDEX_<NAME>_USERNAME and _PASSWORD, or in netrc.

    >>> login("https://index.test/a.whl", {"UV_DEFAULT_INDEX": "https://me:secret@index.test/simple"})
    ('me', 'secret')
    """
    host = urlsplit(url).hostname
    for setting in _SETTINGS:
        for item in environ.get(setting, "").split():
            name, _, address = item.rpartition("=") if "=" in item.partition("://")[0] else ("", "", item)
            parts = urlsplit(address)
            if parts.hostname != host:
                continue
            if parts.username is not None:
                return unquote(parts.username), unquote(parts.password or "")
            key = f"UV_INDEX_{name.upper().replace('-', '_').replace('.', '_')}"
            if name and environ.get(f"{key}_USERNAME"):
                return environ[f"{key}_USERNAME"], environ.get(f"{key}_PASSWORD", "")
    return _from_netrc(host, environ)


def _from_netrc(host: str | None, environ: Mapping[str, str]) -> tuple[str, str] | None:
    path = environ.get("NETRC") or str(Path(environ.get("HOME") or "/") / ".netrc")
    try:
        found = netrc.netrc(path).hosts.get(host or "")
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return None
    return (found[0], found[2] or "") if found and found[0] else None


class File(Protocol):
    """A package file: known by its hash, and where it was seen."""

    @property
    def filename(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def url(self) -> str: ...


def fetch(package: File, directory: Path, environ: Mapping[str, str]) -> Path:
    """Fetch a package into `directory` and return its file, which is what its hash says.

    Raises ResolveError if it cannot be had, or is something else.
    """
    path = directory / package.filename
    hashed = hashlib.sha256()
    try:
        with opener(package.url, environ).open(package.url, timeout=_TIMEOUT) as answer, open(path, "wb") as file:
            while data := answer.read(_CHUNK):
                hashed.update(data)
                file.write(data)
    except (OSError, urllib.error.URLError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise ResolveError(
            f"{package.filename} cannot be fetched from {urlsplit(package.url).hostname}: {error}",
            hint="does the index answer, and is the login right (~/.netrc, UV_INDEX_<NAME>_USERNAME and _PASSWORD)?",
        ) from None
    if hashed.hexdigest() != package.sha256:
        raise ResolveError(
            f"{package.filename} is not what its index says: its sha256 is {hashed.hexdigest()}, not {package.sha256}",
            hint="--upgrade asks the index again; if it stays, the index or something before it is at fault",
        )
    return path


def opener(url: str, environ: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """What opens addresses of the host of `url` as this machine is set up: its CA bundle, proxies and login."""
    bundle = environ.get("SSL_CERT_FILE") or environ.get("PIP_CERT") or environ.get("REQUESTS_CA_BUNDLE")
    context = _trusting(bundle if bundle and os.path.isfile(bundle) else None)  # noqa: PTH113
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    known = login(url, environ)
    if known is not None:
        # Sent to addresses of this host alone: an index may redirect to a storage that must not see it.
        passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
        parts = urlsplit(url)
        root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
        passwords.add_password(None, root, *known, is_authenticated=True)
        handlers.append(urllib.request.HTTPBasicAuthHandler(passwords))
    return urllib.request.build_opener(*handlers)


@functools.lru_cache(maxsize=8)  # to read all certificates of a system takes 20 ms
def _trusting(bundle: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=bundle)
