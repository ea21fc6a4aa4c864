"""The proxy that this machine itself must use: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from .allowlist import literal


@dataclass(frozen=True, slots=True)
class Upstream:
    """A proxy at `host`:`port`, and the login for it."""

    host: str
    port: int
    login: str = ""

    def connect(self, host: str, port: int) -> bytes:
        """Return the request for a tunnel to `host`:`port`."""
        name = f"[{host}]" if ":" in host else host
        login = f"Proxy-Authorization: Basic {self.login}\r\n" if self.login else ""
        return f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n{login}\r\n".encode()


def upstream_for(host: str, port: int, environ: Mapping[str, str]) -> Upstream | None:
    """Return the proxy for a connection to `host`, or None to connect directly. Raise OSError for an unsupported proxy.

    >>> upstream_for("example.org", 443, {"https_proxy": "http://me:p%40w@proxy.lan:3128"})
    Upstream(host='proxy.lan', port=3128, login='bWU6cEB3')
    >>> upstream_for("a.example.org", 443, {"HTTPS_PROXY": "http://proxy.lan:3128", "NO_PROXY": ".example.org"})
    >>> upstream_for("127.0.0.1", 80, {"HTTP_PROXY": "http://proxy.lan:3128"})
    """
    names = ("http_proxy", "all_proxy") if port == 80 else ("https_proxy", "all_proxy")
    address = next(filter(None, (environ.get(name) or environ.get(name.upper()) for name in names)), None)
    if address is None or _direct(host, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    parts = urlsplit(address if "//" in address else f"http://{address}")
    if parts.scheme != "http" or not parts.hostname:
        raise OSError(f"this machine's proxy has the scheme {parts.scheme}://, which tasks cannot use")
    login = ""
    if parts.username:
        both = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = base64.b64encode(both.encode()).decode()
    return Upstream(parts.hostname, parts.port or 80, login)


def _direct(host: str, exceptions: str) -> bool:
    address = literal(host)
    if address is not None and (address.is_loopback or address.is_link_local):
        return True
    name = host.lower().removesuffix(".")
    for one in exceptions.lower().replace(" ", "").split(","):
        suffix = one.removeprefix("*").lstrip(".")
        if one == "*" or (suffix and (name == suffix or name.endswith("." + suffix))):
            return True
    return False
