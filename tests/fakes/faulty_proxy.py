"""A proxy between client and engine that breaks the connection where it is told to."""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["cut", "stall", "half-close"]


@dataclass(frozen=True)
class Fault:
    """After `after` bytes in one direction the connection is closed, or passes nothing any more, or ends that way."""

    kind: Kind
    after: int
    upward: bool

    def __str__(self) -> str:
        return f"{self.kind} {'to' if self.upward else 'from'} the engine after {self.after} bytes"


class Proxy:
    """Listens at `path` and carries to `upstream`; the first connection suffers the fault, later ones do not."""

    def __init__(self, path: Path, upstream: str) -> None:
        self.fault: Fault | None = None
        self.struck = threading.Event()
        self.carried = [0, 0]
        self._upstream = upstream
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(16)
        self._stop, self._stopper = socket.socketpair()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def inject(self, fault: Fault | None) -> None:
        self.struck.clear()
        self.fault = fault
        self.carried = [0, 0]

    def close(self) -> None:
        self._stopper.close()
        self._acceptor.join()
        for thread in self._threads:
            thread.join()
        self._listener.close()
        self._stop.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._stop, selectors.EVENT_READ)
            while not any(key.fileobj is self._stop for key, _ in selector.select()):
                client, _ = self._listener.accept()
                fault, self.fault = self.fault, None
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                self._threads.append(threading.Thread(target=self._carry, args=(client, fault)))
                self._threads[-1].start()

    def _carry(self, client: socket.socket, fault: Fault | None) -> None:
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(self._upstream)
        counted = {True: 0, False: 0}
        with client, engine, selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            selector.register(client, selectors.EVENT_READ)
            selector.register(engine, selectors.EVENT_READ)
            selector.register(self._stop, selectors.EVENT_READ)
            while len(selector.get_map()) > 1:
                for key, _ in selector.select():
                    if key.fileobj is self._stop:
                        return
                    upward = key.fileobj is client
                    source, target = (client, engine) if upward else (engine, client)
                    data = source.recv(1 << 16)
                    room = fault.after - counted[upward] if fault and fault.upward == upward else len(data)
                    target.sendall(data[: max(0, room)])
                    counted[upward] += len(data)
                    self.carried[upward] += len(data)
                    if not data:
                        selector.unregister(source)
                        target.shutdown(socket.SHUT_WR)
                    elif fault and len(data) > room:
                        self.struck.set()
                        if fault.kind == "cut":
                            return
                        if fault.kind == "stall":
                            _hold(client, engine, self._stop)
                            return
                        selector.unregister(source)
                        target.shutdown(socket.SHUT_WR)


def _hold(*ends: socket.socket) -> None:
    """Pass nothing until one of the ends is gone."""
    poll = select.poll()
    for end in ends:
        poll.register(end, select.POLLRDHUP)
    poll.poll()


@contextlib.contextmanager
def proxy(path: Path, upstream: str) -> Iterator[Proxy]:
    running = Proxy(path, upstream)
    try:
        yield running
    finally:
        running.close()
