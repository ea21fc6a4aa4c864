"""One connection from a task: read the request, decide, connect, and pass bytes both ways.

The proxy takes CONNECT for anything, and `GET http://...` for plain HTTP. A name is resolved here once, and the
connection goes to the address that was checked: a name server that changes its answer a moment later changes nothing.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from .addresses import own_addresses
from .allowlist import Address, Allowlist, literal
from .upstream import Upstream, upstream_for

_HEAD = 1 << 15  # bytes of a request's head
_PATIENCE = 15.0  # seconds for the head of a request to arrive, and for a connection to be made
_HALF_OPEN = 60.0  # seconds that one direction may be silent after the other has ended
_CHUNK = 1 << 16
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_HOP_BY_HOP = ("connection", "proxy-connection", "proxy-authorization", "keep-alive", "host")

Refuse = Callable[[str, str], None]
"""Gets the host and port of a refused request, and the reason."""


class Refused(Exception):
    """The connection is not made. The task gets the text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """Where a connection goes, and the bytes to send first; None for CONNECT, which the proxy answers itself."""

    host: str
    port: int
    first: bytes | None = None


def serve(client: socket.socket, allowed: Allowlist, environ: Mapping[str, str], refuse: Refuse) -> None:
    """Handle one connection until it ends. An OSError ends it too."""
    client.settimeout(_PATIENCE)
    try:
        head, rest = _head(client)
        request = read_request(head)
        server = _connected(request, allowed, environ, refuse)
    except Refused as refused:
        text = f"flyte-images: {refused}\n".encode()
        status = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway"}[refused.status]
        lines = (f"HTTP/1.1 {refused.status} {status}", "Content-Type: text/plain; charset=utf-8")
        head_of_answer = "\r\n".join((*lines, f"Content-Length: {len(text)}", "Connection: close", "", ""))
        client.sendall(head_of_answer.encode() + text)
        return
    with server:
        if request.first is None:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        pump(client, server, (request.first or b"") + rest)


def _head(client: socket.socket) -> tuple[bytes, bytes]:
    """Return the head of the request, and the bytes after it."""
    arrived, deadline = b"", time.monotonic() + _PATIENCE
    while b"\r\n\r\n" not in arrived:
        client.settimeout(max(0.01, deadline - time.monotonic()))
        part = client.recv(_CHUNK)
        if not part or len(arrived) + len(part) > _HEAD + _CHUNK or time.monotonic() > deadline:
            raise Refused(400, "this is not a request to a proxy")
        arrived += part
    head, _, rest = arrived.partition(b"\r\n\r\n")
    if len(head) > _HEAD:
        raise Refused(400, "the head of the request is too long")
    return head, rest


def read_request(head: bytes) -> Request:
    """Parse the head of a request. Raise Refused for what is not a request to a proxy.

    >>> read_request(b"CONNECT example.org:443 HTTP/1.1")
    Request(host='example.org', port=443, first=None)
    >>> read_request(b"GET http://example.org/a?b HTTP/1.1\\r\\nProxy-Connection: keep-alive\\r\\nA: b").first
    b'GET /a?b HTTP/1.1\\r\\nHost: example.org\\r\\nConnection: close\\r\\nA: b\\r\\n\\r\\n'
    """
    first, *headers = head.decode("latin-1").split("\r\n")
    try:
        method, target, protocol = first.split(" ")
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Refused(400, "this is not a request to a proxy") from None
    if not protocol.startswith("HTTP/1.") or not _HOST.fullmatch(host) or "\n" in first:
        raise Refused(400, "this is not a request to a proxy")
    if method == "CONNECT":
        if not port:
            raise Refused(400, "CONNECT needs HOST:PORT")
        return Request(host, port)
    if parts.scheme != "http":
        raise Refused(400, f"plain requests are for http://, not for {parts.scheme or 'nothing'}")
    kept = [line for line in headers if line.partition(":")[0].strip().lower() not in _HOP_BY_HOP]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    named = f"[{host}]" if ":" in host else host
    authority = named if port in (None, 80) else f"{named}:{port}"
    lines = [f"{method} {path} HTTP/1.1", f"Host: {authority}", "Connection: close", *kept, "", ""]
    return Request(host, port or 80, "\r\n".join(lines).encode("latin-1"))


def _connected(request: Request, allowed: Allowlist, environ: Mapping[str, str], refuse: Refuse) -> socket.socket:
    """Return a connection to the destination of the request. Raise Refused if the task may not go there."""
    host, port = request.host, request.port
    if not allowed.names(host, port):
        refuse(_shown(host, port), "not named")
        raise Refused(403, f"network= of this task does not name {_shown(host, port)}")
    upstream = upstream_for(host, port, environ)
    try:
        if upstream is not None:
            return _through(upstream, host, port)
        last: OSError | None = None
        for address in _addresses(host, port, allowed, refuse):
            try:
                return socket.create_connection((str(address), port), timeout=_PATIENCE)
            except OSError as error:
                last = error
        raise last or OSError("the name has no address")
    except OSError as error:
        raise Refused(502, f"{_shown(host, port)} cannot be reached: {error.strerror or error}") from None


def _addresses(host: str, port: int, allowed: Allowlist, refuse: Refuse) -> list[Address]:
    """Return the addresses of the host to which the task may connect."""
    address = literal(host)
    if address is not None:
        return [address]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    seen = dict.fromkeys(literal(str(one[4][0]).partition("%")[0]) for one in found)
    own = own_addresses()
    good = [one for one in seen if one is not None and allowed.leads_to(one, port, own)]
    if seen and not good:
        leads = ", ".join(map(str, list(seen)[:3]))
        refuse(_shown(host, port), f"leads to {leads}")
        raise Refused(
            403,
            f"{_shown(host, port)} leads to {leads}, which is not a public address: "
            f"name the address in network= as well if the task may reach it",
        )
    return good[:8]


def _through(upstream: Upstream, host: str, port: int) -> socket.socket:
    """Return a tunnel through this machine's own proxy, which resolves the name itself."""
    link = socket.create_connection((upstream.host, upstream.port), timeout=_PATIENCE)
    try:
        link.sendall(upstream.connect(host, port))
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = link.recv(1)  # further bytes belong to the task
            if not part or len(answer) > _HEAD:
                raise OSError("the proxy of this machine does not answer as a proxy does")
            answer += part
        status = answer.split(b"\r\n", 1)[0].split(b" ")
        if len(status) < 2 or status[1] != b"200":
            raise OSError(f"the proxy of this machine refuses: {answer[:80].decode('latin-1').splitlines()[0]}")
    except BaseException:
        link.close()
        raise
    return link


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Way:
    """One direction: `pending` was read from `source` and is not yet written to `target`."""

    def __init__(self, source: socket.socket, target: socket.socket, pending: bytes = b"") -> None:
        self.source = source
        self.target = target
        self.pending = pending
        self.ended = False  # nothing more will arrive
        self.over = False  # and everything is written

    def push(self) -> None:
        try:
            if self.pending:
                self.pending = self.pending[self.target.send(self.pending) :]
        except BlockingIOError:
            return
        if self.ended and not self.pending and not self.over:
            self.over = True
            self.target.shutdown(socket.SHUT_WR)

    def pull(self) -> None:
        try:
            self.pending = self.source.recv(_CHUNK)
        except BlockingIOError:
            return
        self.ended = not self.pending


def pump(client: socket.socket, server: socket.socket, first: bytes) -> None:
    """Pass bytes both ways until both sides have ended, or one has ended and the other is silent for a minute.

    At most one chunk is held for each direction.
    """
    ways = (_Way(client, server, first), _Way(server, client))
    for one in (client, server):
        one.setblocking(False)
    while not all(way.over for way in ways):
        poll = select.poll()
        wanted: dict[int, int] = {}
        for way in ways:
            if way.pending or way.ended:
                if not way.over:
                    wanted[way.target.fileno()] = wanted.get(way.target.fileno(), 0) | select.POLLOUT
            else:
                wanted[way.source.fileno()] = wanted.get(way.source.fileno(), 0) | select.POLLIN
        for number, events in wanted.items():
            poll.register(number, events)
        half_open = any(way.over for way in ways)
        ready = dict(poll.poll(_HALF_OPEN * 1000 if half_open else None))
        if not ready:
            return
        for way in ways:
            if not way.over and (way.pending or way.ended):
                if ready.get(way.target.fileno()):
                    way.push()
            elif not way.ended and ready.get(way.source.fileno()):
                way.pull()
                way.push()
