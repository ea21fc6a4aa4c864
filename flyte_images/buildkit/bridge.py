"""Lets grpcio, which can only dial by itself, use connections that we dialled: through an abstract Unix socket.

The socket has no file, so none is left behind whatever happens to the process; and it serves this process alone: the
kernel says who connects.
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
_PATIENCE = 2.0  # seconds for the last words of a connection that is gone


class Bridge:
    """Splices each connection made to `target` to one that `dial` makes. The first is dialled at once."""

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
        self._last_words = ""
        self._acceptor = threading.Thread(target=self._accept, name="flyte-images-bridge", daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            if not _own(inner):
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
                self._last_words = ended.said or self._last_words
            self.error = None
            self._splices.append(Splice(inner, outer))

    def said(self) -> str:
        """Why the connection is gone, as far as the other end said it. Whoever asks has just lost it."""
        for splice in [*self._splices]:  # grpcio may be connecting again already
            if not splice.alive and splice.said:
                return splice.said
        for splice in self._splices[-1:]:
            splice.ended(_PATIENCE)
            self._last_words = splice.said or self._last_words
        return str(self.error or self._last_words)

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
    """Carries bytes both ways between two connected sockets until both directions have ended; then closes them."""

    def __init__(self, inner: socket.socket, outer: Connection) -> None:
        self._inner, self._outer = inner, outer
        self.said = ""
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="flyte-images-splice", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def ended(self, patience: float) -> None:
        """Wait for its end, and for what is said there."""
        self._thread.join(patience)

    def close(self) -> None:
        self._waker.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            _carry(self._wake, _Lane(self._inner, self._outer.socket), _Lane(self._outer.socket, self._inner))
        except OSError as error:  # one end is gone: closing both is how the other learns of it
            self.said = error.strerror or str(error)
        finally:
            self._inner.close()
            self.said = self._outer.said() or self.said
            self._outer.close()
            self._wake.close()


class _Lane:
    """One direction. It reads only when all that was read before is written, so a slow end holds up the fast one."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self.pending = memoryview(b"")
        self.ended = False
        source.setblocking(False)

    def move(self) -> None:
        """Move what can be moved now without waiting."""
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


def _carry(wake: socket.socket, there: _Lane, back: _Lane) -> None:
    """Move both ways until both have ended, or `wake` ends."""
    with selectors.DefaultSelector() as selector:
        selector.register(wake, selectors.EVENT_READ)
        while not (there.ended and back.ended):
            for lane, other in ((there, back), (back, there)):
                reads = selectors.EVENT_READ if not lane.ended and not lane.pending else 0
                _watch(selector, lane.source, reads | (selectors.EVENT_WRITE if other.pending else 0))
            if any(key.fileobj is wake for key, _ in selector.select()):
                return
            there.move()
            back.move()


def _watch(selector: selectors.BaseSelector, source: socket.socket, events: int) -> None:
    known = source in selector.get_map()
    if known and not events:
        selector.unregister(source)
    elif known:
        selector.modify(source, events)
    elif events:
        selector.register(source, events)


def _receive(source: socket.socket) -> bytes | None:
    """What has arrived; b"" at the end; None if nothing has arrived yet."""
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
    if not isinstance(target, ssl.SSLSocket):  # TLS has no half-close that all servers take
        target.shutdown(socket.SHUT_WR)


def _own(peer: socket.socket) -> bool:
    """Is it this process that connected?"""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[0] == os.getpid())
