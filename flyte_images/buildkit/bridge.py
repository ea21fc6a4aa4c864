"""Give grpcio, which insists on dialing, connections that this client has dialed, through an abstract Unix socket.

The socket has no file, so a killed process leaves no file behind. The socket serves this process alone: the kernel
reports the process that connects.
"""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import ssl
import struct
import threading
from collections.abc import Callable

from ..errors import EngineError
from .dial import Connection

_CHUNK = 1 << 18
_PATIENCE = 2.0  # seconds to wait for the last error message of a lost connection


class Bridge:
    """Joins each connection to `target` with a new connection from `dial`. The first connection is dialed at once."""

    def __init__(self, dial: Callable[[], Connection]) -> None:
        self._dial = dial
        self._first: Connection | None = dial()
        self._listener = socket.socket(socket.AF_UNIX)
        name = f"flyte-images-{os.getpid()}-{secrets.token_hex(8)}"
        self._listener.bind(f"\0{name}")
        self._listener.listen(8)
        self.target = f"unix-abstract:{name}"
        self.error: EngineError | None = None
        self._splices: list[Splice] = []
        self._last_reason = ""
        self._acceptor = threading.Thread(target=self._accept, name="flyte-images-bridge", daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            if not _is_own_process(inner):
                inner.close()
                continue
            try:
                outer, self._first = self._first or self._dial(), None
            except EngineError as error:
                self.error = error
                inner.close()
                continue
            for ended in [splice for splice in self._splices if not splice.alive]:
                self._splices.remove(ended)
                ended.close()
                self._last_reason = ended.reason or self._last_reason
            self.error = None
            self._splices.append(Splice(inner, outer))

    def reason(self) -> str:
        """Return the other end's report of why the connection was lost, or "". Call this after a lost connection."""
        for splice in [*self._splices]:  # grpcio may already have connected again
            if not splice.alive and splice.reason:
                return splice.reason
        for splice in self._splices[-1:]:
            splice.wait(_PATIENCE)
            self._last_reason = splice.reason or self._last_reason
        return str(self.error or self._last_reason)

    def close(self) -> None:
        """Close every connection and wait for the threads."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._acceptor.join()
        self._listener.close()
        if self._first is not None:
            self._first.close()
        for splice in self._splices:
            splice.close()


class Splice:
    """Copies bytes both ways between two connected sockets until both directions have ended; then closes them."""

    def __init__(self, inner: socket.socket, outer: Connection) -> None:
        self._inner, self._outer = inner, outer
        self.reason = ""
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="flyte-images-splice", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether bytes may still move."""
        return self._thread.is_alive()

    def wait(self, patience: float) -> None:
        """Wait up to `patience` seconds for the end; after the end, `reason` is set."""
        self._thread.join(patience)

    def close(self) -> None:
        """Close both sockets and wait for the thread."""
        self._waker.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            _carry(self._wake, _Lane(self._inner, self._outer.socket), _Lane(self._outer.socket, self._inner))
        except OSError as error:  # one end is gone: the other end notices when both are closed
            self.reason = error.strerror or str(error)
        finally:
            self._inner.close()
            self.reason = self._outer.complaint() or self.reason
            self._outer.close()
            self._wake.close()


class _Lane:
    """One direction. Reads only after everything read before is written, so a slow receiver slows a fast sender."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self.pending = memoryview(b"")
        self.ended = False
        source.setblocking(False)

    def move(self) -> None:
        """Move bytes that can be moved now without waiting."""
        if not self.pending and not self.ended:
            data = _receive(self.source)
            if data is None:
                return
            self.pending = memoryview(data)
            if not data:
                self.ended = True
                _finish(self.target)
        if self.pending:
            self.pending = self.pending[_send(self.target, self.pending) :]


def _carry(wake: socket.socket, up: _Lane, down: _Lane) -> None:
    """Move bytes both ways until both lanes have ended, or `wake` is closed."""
    with selectors.DefaultSelector() as selector:
        selector.register(wake, selectors.EVENT_READ)
        while not (up.ended and down.ended):
            for lane, other in ((up, down), (down, up)):
                reads = selectors.EVENT_READ if not lane.ended and not lane.pending else 0
                _watch(selector, lane.source, reads | (selectors.EVENT_WRITE if other.pending else 0))
            if any(key.fileobj is wake for key, _ in selector.select()):
                return
            up.move()
            down.move()


def _watch(selector: selectors.BaseSelector, source: socket.socket, events: int) -> None:
    registered = source in selector.get_map()
    if registered and not events:
        selector.unregister(source)
    elif registered:
        selector.modify(source, events)
    elif events:
        selector.register(source, events)


def _receive(source: socket.socket) -> bytes | None:
    """Return the bytes that have arrived: b"" at the end, None if no byte has arrived yet."""
    try:
        return source.recv(_CHUNK)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None


def _send(target: socket.socket, data: memoryview) -> int:
    try:
        return target.send(data)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return 0


def _finish(target: socket.socket) -> None:
    """Pass on the end of one direction."""
    if not isinstance(target, ssl.SSLSocket):  # TLS has no half-close that every server accepts
        target.shutdown(socket.SHUT_WR)


def _is_own_process(peer: socket.socket) -> bool:
    """Return whether this process has connected."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[0] == os.getpid())
