"""The logins of this machine to package indexes: each goes to the very origin that it is for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from flyte_images_layers import PythonRequirements

Origin = tuple[str, str, int]
Login = tuple[str, str]

_PORTS = {"http": 80, "https": 443}
_SETTINGS = (
    *("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"),
    "UV_FIND_LINKS",
)


def origin(url: str) -> Origin | None:
    """Return the scheme, host and port of an address; None if it is not one of http or https.

    >>> origin("https://Index.test/simple"), origin("http://index.test:81/a"), origin("file:///a")
    (('https', 'index.test', 443), ('http', 'index.test', 81), None)
    """
    try:
        parts = urlsplit(url)
        return (parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS[parts.scheme])
    except (ValueError, KeyError):
        return None


def indexes_of(asked: Iterable[PythonRequirements | None]) -> tuple[str, ...]:
    """Return the addresses of the indexes that requirements name."""
    named = [it for it in asked if it is not None]
    several = [((it.index_url,) if it.index_url else ()) + it.extra_index_urls for it in named]
    return tuple(dict.fromkeys(url for urls in several for url in urls))


def login(url: str, environ: Mapping[str, str], indexes: Iterable[str] = ()) -> Login | None:
    """Return the user and password that this machine has for the origin of `url`.

    It is in an index address of uv's or pip's settings, in UV_INDEX_<NAME>_USERNAME and _PASSWORD, or in netrc. An
    entry of netrc names a host alone: it is for https at its usual port, and for the origins of the indexes that the
    settings, or `indexes`, name.

    >>> login("https://index.test/a.whl", {"UV_DEFAULT_INDEX": "https://me:secret@index.test/simple"})
    ('me', 'secret')
    >>> login("https://index.test:8443/a.whl", {"UV_DEFAULT_INDEX": "https://me:secret@index.test/simple"})
    """
    wanted = origin(url)
    if wanted is None:
        return None
    known = {wanted} if wanted[0] == "https" and wanted[2] == _PORTS["https"] else set()
    known |= {it for index in indexes if (it := origin(index))}
    for name, parts in _indexes(environ):
        if origin(parts.geturl()) != wanted:
            continue
        known.add(wanted)
        if parts.username is not None:
            return unquote(parts.username), unquote(parts.password or "")
        key = f"UV_INDEX_{name.upper().replace('-', '_').replace('.', '_')}"
        if name and environ.get(f"{key}_USERNAME"):
            return environ[f"{key}_USERNAME"], environ.get(f"{key}_PASSWORD", "")
    return _from_netrc(wanted[1], environ) if wanted in known else None


def _indexes(environ: Mapping[str, str]) -> Iterator[tuple[str, SplitResult]]:
    """The indexes of uv's and pip's settings: their names, where they have one, and addresses."""
    for setting in _SETTINGS:
        for item in environ.get(setting, "").split():
            name, _, address = item.rpartition("=") if "=" in item.partition("://")[0] else ("", "", item)
            try:
                yield name, urlsplit(address)
            except ValueError:
                continue


def _from_netrc(host: str, environ: Mapping[str, str]) -> Login | None:
    path = environ.get("NETRC") or str(Path(environ.get("HOME") or "/") / ".netrc")
    import netrc  # a build that changes nothing needs none

    try:
        found = netrc.netrc(path).hosts.get(host)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return None
    return (found[0], found[2] or "") if found and found[0] else None
