"""Docker Engine's HTTP API over its socket: requests, and the connection that carries a container's streams.

Starts of tasks use it, so it needs no client program and loads fast.
"""

from __future__ import annotations

import json
import os
import select
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from ...errors import EngineLost
from ...system.diagnostics import DEBUG, timed
from ...system.http_exchange import Exchange

_VERSION = "v1.43"
_PATIENCE = 60.0  # seconds without an answer; a busy disk delays the creation of a container


class Refused(Exception):
    """The engine answered with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Api:
    """The engine at `address`: `unix:///var/run/docker.sock` or `tcp://host:port`."""

    address: str

    def call(self, method: str, path: str, body: Any = None, *, timeout: float | None = _PATIENCE, **query: Any) -> Any:
        """Return the answer's JSON, None without one.

        Raise Refused for an error status, EngineLost without an answer.
        """
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if content is not None else {}
        try:
            with (
                timed("asking %s: %s %s", self.address, method, path, level=DEBUG),
                Exchange(connect(self.address, timeout)) as exchange,
            ):
                exchange.request(method, _target(path, query), headers=headers, body=content)
                text = exchange.read()
        except OSError as error:
            raise lost(self.address, error) from error
        return _content(exchange.status, text)

    def attach(self, container: str) -> Attachment:
        """Open the container's streams. Before the start, so that no output is missed."""
        query = {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1}
        target = _target(f"/containers/{quote(container)}/attach", query)
        link = connect(self.address, _PATIENCE)
        try:
            link.sendall(
                f"POST {target} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                "Content-Length: 0\r\n\r\n".encode()
            )
            head, rest = _head(link)
        except OSError as error:
            link.close()
            raise lost(self.address, error) from error
        status = int(head.split(b" ", 2)[1])
        if status not in (101, 200):
            link.close()
            _content(status, rest)  # raises Refused with the message
            raise Refused(status, rest.decode(errors="replace"))
        link.settimeout(None)
        return Attachment(link, rest)


class Attachment:
    """A container's stdout and stderr as separate streams. The container's stdin stays open as long as this object."""

    def __init__(self, link: socket.socket, received: bytes) -> None:
        self._link = link
        self._received = bytearray(received)
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._guard = threading.Lock()

    def read(self, on_bytes: Callable[[int, bytes], None], timeout: float | None) -> bool:
        """Pass on arrived bytes (1 stdout, 2 stderr). Return False at the end, True after data, `timeout` or `wake`."""
        self._pass_on(on_bytes)
        link = self._link.fileno()
        poll = select.poll()
        poll.register(link, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(None if timeout is None else timeout * 1000)}
        if self._wake in ready:
            os.read(self._wake, 64)
        if link in ready:
            try:
                arrived = self._link.recv(1 << 16)
            except ConnectionError:
                return False
            if not arrived:
                return False
            self._received += arrived
            self._pass_on(on_bytes)
        return True

    def _pass_on(self, on_bytes: Callable[[int, bytes], None]) -> None:
        """Pass on whole frames: a stream's number, three zeros, the length in four bytes, and that many bytes."""
        at = 0
        while len(self._received) - at >= 8:
            length = int.from_bytes(self._received[at + 4 : at + 8], "big")
            if len(self._received) - at - 8 < length:
                break
            on_bytes(self._received[at], bytes(self._received[at + 8 : at + 8 + length]))
            at += 8 + length
        del self._received[:at]

    def wake(self) -> None:
        """Make `read` return. Callable from any thread."""
        with self._guard:  # the number of a closed descriptor may belong to another file by now
            if self._waker >= 0:
                os.write(self._waker, b".")

    def close(self) -> None:
        with self._guard:
            self._link.close()
            for descriptor in (self._wake, self._waker):
                if descriptor >= 0:
                    os.close(descriptor)
            self._wake = self._waker = -1


def connect(address: str, timeout: float | None) -> socket.socket:
    """Connect to the engine."""
    parts = urlsplit(address)
    if parts.scheme == "unix":
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(timeout)
        try:
            link.connect(parts.path)
        except OSError:
            link.close()
            raise
        return link
    if parts.scheme in ("tcp", "http") and parts.hostname:
        return socket.create_connection((parts.hostname, parts.port or 2375), timeout=timeout)
    raise EngineLost(
        f"tasks cannot run on an engine at {address}",
        hint="DOCKER_HOST must be unix:///path or tcp://host:port, on this machine",
    )


def lost(address: str, error: BaseException) -> EngineLost:
    """Return the error for an engine that did not answer."""
    if isinstance(error, PermissionError):
        return EngineLost(
            f"this user may not talk to the Docker Engine at {address}", hint="add the user to the group `docker`"
        )
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return EngineLost(
            f"no Docker Engine answers at {address}",
            hint="start it, or set DOCKER_HOST; see `flyte-images doctor`",
        )
    return EngineLost(f"the Docker Engine at {address} went away: {error or type(error).__name__}")


def _target(path: str, query: Mapping[str, Any]) -> str:
    return f"/{_VERSION}{path}" + (f"?{urlencode(query)}" if query else "")


def _content(status: int, text: bytes) -> Any:
    try:
        content = json.loads(text) if text.strip() else None
    except ValueError:
        content = text.decode(errors="replace")
    if status >= 400:
        message = content.get("message") if isinstance(content, dict) else content
        raise Refused(status, str(message or f"status {status}"))
    return content


def _head(link: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        arrived = link.recv(4096)
        if not arrived:
            raise ConnectionResetError("the engine closed the connection")
        received += arrived
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest
