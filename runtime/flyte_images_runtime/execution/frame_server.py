"""Receive documents from untrusted peers: in one thread, with bounds on connections, bytes and time.

A connection carries one document (portable/framing.py). Memory for a document is taken only when all of it fits the
bounds. Until then its bytes wait in the kernel, as do connections above the bound.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..portable import framing

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The bounds for all peers of one server.

    frame        bytes of one document
    total        bytes of all documents that arrive, wait or are being answered
    connections  connections that are accepted and not yet closed
    patience     seconds for a document to arrive, and for the peer to read the answer
    """

    frame: int
    total: int
    connections: int = 64
    patience: float = 30.0


class Received:
    """A document and the connection that waits for its answer. Close it once, which frees its bytes."""

    def __init__(self, server: FrameServer, link: socket.socket, text: bytearray) -> None:
        self._server = server
        self._link = link
        self.text = text

    def __enter__(self) -> Received:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self, document: Any) -> None:
        """Send the answer, unless the peer is gone or does not read it in time."""
        with contextlib.suppress(OSError):
            self._link.settimeout(self._server.bounds.patience)
            framing.send(self._link, document)

    def close(self) -> None:
        """Close the connection."""
        self._link.close()
        self._server.release(len(self.text))
        self.text = bytearray()


class _Arriving:
    """A connection whose document has not arrived completely."""

    def __init__(self, link: socket.socket, deadline: float) -> None:
        self.link = link
        self.deadline = deadline
        self.length: int | None = None
        self.admitted = False
        self.text = bytearray()


class FrameServer:
    """Accepts connections at `listener`, and closes it at the end. The server's thread calls `take`.

    `refusal` makes the answer to a document that is too long.
    """

    def __init__(
        self,
        listener: socket.socket,
        bounds: Bounds,
        take: Callable[[Received], None],
        *,
        refusal: Callable[[str], Any],
        name: str,
    ) -> None:
        self.bounds = bounds
        self._listener = listener
        self._take = take
        self._refusal = refusal
        self._guard = threading.Lock()
        self._open = 0
        self._bytes = 0
        self._closed = False
        self._listening = False
        self._arriving: set[_Arriving] = set()
        self._held: deque[_Arriving] = deque()
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)
        listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)
        self._thread.start()

    def close(self) -> None:
        """Accept nothing more and drop incomplete documents. The taker closes the documents that it took."""
        with self._guard:
            self._closed = True
        self._notify()
        self._thread.join()

    def release(self, count: int) -> None:
        """Count a closed connection, whose `count` bytes are free now."""
        with self._guard:
            self._open -= 1
            self._bytes -= count
        self._notify()

    def _notify(self) -> None:
        with self._guard, contextlib.suppress(OSError):  # the pipe is full, or the server has ended
            os.write(self._waker, b".")

    def _run(self) -> None:
        try:
            while not self._closed:
                self._listen_if_there_is_room()
                for key, _ in self._selector.select(self._until_the_next_deadline()):
                    if key.data is not None:
                        self._read(key.data)
                    elif key.fileobj is self._listener:
                        self._accept()
                    else:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._wake, 4096)
                self._admit_held()
                self._drop_late()
        finally:
            for peer in (*self._arriving, *self._held):
                peer.link.close()
            self._selector.close()
            self._listener.close()
            with self._guard:
                os.close(self._wake)
                waker, self._waker = self._waker, -1
                os.close(waker)

    def _listen_if_there_is_room(self) -> None:
        room = self._open < self.bounds.connections
        if room and not self._listening:
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif self._listening and not room:
            self._selector.unregister(self._listener)
        self._listening = room

    def _until_the_next_deadline(self) -> float | None:
        if not self._arriving:
            return None
        return max(0.0, min(peer.deadline for peer in self._arriving) - time.monotonic())

    def _accept(self) -> None:
        try:
            link, _ = self._listener.accept()
        except OSError:
            return
        link.setblocking(False)
        with self._guard:
            self._open += 1
        peer = _Arriving(link, time.monotonic() + self.bounds.patience)
        self._arriving.add(peer)
        self._selector.register(link, selectors.EVENT_READ, peer)

    def _read(self, peer: _Arriving) -> None:
        wanted = 4 if peer.length is None else peer.length
        try:
            piece = peer.link.recv(min(wanted - len(peer.text), _PIECE))
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        peer.text += piece
        if not piece:
            self._drop(peer)
        elif len(peer.text) == wanted:
            if peer.length is None:
                self._begin(peer)
            else:
                self._hand_on(peer)

    def _begin(self, peer: _Arriving) -> None:
        """Take in the length of the document, and refuse a document that is too long."""
        peer.length = int.from_bytes(peer.text, "big")
        peer.text.clear()
        if peer.length > self.bounds.frame:
            with contextlib.suppress(OSError):
                framing.send(
                    peer.link,
                    self._refusal(f"a message of {peer.length} bytes is too long: {self.bounds.frame} are allowed"),
                )
            self._drop(peer)
            return
        self._selector.unregister(peer.link)
        self._arriving.discard(peer)
        self._held.append(peer)

    def _admit_held(self) -> None:
        """Admit waiting documents in their order, as long as they fit the bounds."""
        while self._held:
            peer = self._held[0]
            assert peer.length is not None
            with self._guard:
                if self._bytes + peer.length > self.bounds.total:
                    return
                self._bytes += peer.length
            self._held.popleft()
            peer.admitted = True
            peer.deadline = time.monotonic() + self.bounds.patience
            self._arriving.add(peer)
            self._selector.register(peer.link, selectors.EVENT_READ, peer)
            if peer.length == 0:
                self._hand_on(peer)

    def _hand_on(self, peer: _Arriving) -> None:
        self._selector.unregister(peer.link)
        self._arriving.discard(peer)
        self._take(Received(self, peer.link, peer.text))

    def _drop_late(self) -> None:
        now = time.monotonic()
        for peer in [peer for peer in self._arriving if peer.deadline <= now]:
            self._drop(peer)

    def _drop(self, peer: _Arriving) -> None:
        self._selector.unregister(peer.link)
        self._arriving.discard(peer)
        peer.link.close()
        with self._guard:
            self._open -= 1
            self._bytes -= (peer.length or 0) if peer.admitted else 0
