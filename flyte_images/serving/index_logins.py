"""The logins of this machine for package indexes: each is sent to its own origin only."""

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
    """Return the scheme, host and port of an address; None if its scheme is not http or https.

    >>> origin("https://Index.test/simple"), origin("http://index.test:81/a"), origin("file:///a")
    (('https', 'index.test', 443), ('http', 'index.test', 81), None)
    """
    try:
        parts = urlsplit(url)
        return (parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS[parts.scheme])
    except (ValueError, KeyError):
        return None


def indexes_of(requirements: Iterable[PythonRequirements | None]) -> tuple[str, ...]:
    """Return the addresses of the indexes that requirements name."""
    given = [part for part in requirements if part is not None]
    several = [((part.index_url,) if part.index_url else ()) + part.extra_index_urls for part in given]
    return tuple(dict.fromkeys(url for urls in several for url in urls))


def find_login(url: str, environ: Mapping[str, str], indexes: Iterable[str] = ()) -> Login | None:
    """Return the user and password that this machine has for the origin of `url`.

    The login comes from an index address in the settings of uv or pip, from UV_INDEX_<NAME>_USERNAME and _PASSWORD, or
    from netrc. An entry of netrc names a host only: it counts for https on port 443, and for the origins of the indexes
    that the settings or `indexes` name.

    >>> find_login("https://index.test/a.whl", {"UV_DEFAULT_INDEX": "https://me:secret@index.test/simple"})
    ('me', 'secret')
    >>> find_login("https://index.test:8443/a.whl", {"UV_DEFAULT_INDEX": "https://me:secret@index.test/simple"})
    """
    target = origin(url)
    if target is None:
        return None
    trusted = {target} if target[0] == "https" and target[2] == _PORTS["https"] else set()
    trusted |= {place for index in indexes if (place := origin(index))}
    for name, parts in _configured_indexes(environ):
        if origin(parts.geturl()) != target:
            continue
        trusted.add(target)
        if parts.username is not None:
            return unquote(parts.username), unquote(parts.password or "")
        key = f"UV_INDEX_{name.upper().replace('-', '_').replace('.', '_')}"
        if name and environ.get(f"{key}_USERNAME"):
            return environ[f"{key}_USERNAME"], environ.get(f"{key}_PASSWORD", "")
    return _from_netrc(target[1], environ) if target in trusted else None


def _configured_indexes(environ: Mapping[str, str]) -> Iterator[tuple[str, SplitResult]]:
    """Yield the name (or an empty text) and the address of each index in the settings of uv and pip."""
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
        entry = netrc.netrc(path).hosts.get(host)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return None
    return (entry[0], entry[2] or "") if entry and entry[0] else None
