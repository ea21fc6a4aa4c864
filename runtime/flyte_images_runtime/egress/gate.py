"""The way out of a task that may reach only some names.

The task has a network namespace with nothing but its loopback. Its worker listens there and hands the listening socket
to this process, which takes the connections: every byte that leaves the container goes through here. The container
decides nothing, so an attack on the program inside gains nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import Counter
from collections.abc import Mapping, Sequence

from ..task.exchange import Exchange
from ..worker import paths
from .allowlist import Allowlist
from .proxy import serve

MOST = 64
"""Connections of one task at a time; further ones wait."""
_NAMES = 50  # different refused names that are counted; further ones are counted together
_PATIENCE = 20.0


class Gate:
    """Accepts the connections of one container, from its start until its end."""

    def __init__(self, exchange: Exchange, allowed: Sequence[str], environ: Mapping[str, str]) -> None:
        self._allowed = Allowlist.of(allowed)
        self._environ = {name: text for name, text in environ.items() if name.lower().endswith("_proxy")}
        self._room = threading.BoundedSemaphore(MOST)
        self._guard = threading.Lock()
        self._refused: Counter[str] = Counter()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._door = exchange.listen(paths.PROXY)
        self._hold(self._door)
        threading.Thread(target=self._receive, daemon=True, name=f"way out of {exchange.name}").start()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every connection and accept no more."""
        with self._guard:
            self._closed = True
            found, self._open = self._open, set()
        for one in found:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def take_refused(self) -> dict[str, int]:
        """Return what was refused since the last call of this method, with counts, the most frequent first."""
        with self._guard:
            found, self._refused = self._refused, Counter()
        return dict(found.most_common())

    def _refuse(self, what: str, why: str) -> None:
        key = what if why == "not named" else f"{what} ({why})"
        with self._guard:
            if key not in self._refused and len(self._refused) >= _NAMES:
                key = "others"
            self._refused[key] += 1

    def _hold(self, one: socket.socket) -> bool:
        """Remember a socket for `close` to end. Return False if the gate is closed already."""
        with self._guard:
            if not self._closed:
                self._open.add(one)
            return not self._closed

    def _receive(self) -> None:
        """Wait for the listening socket from the worker, then for connections."""
        while True:
            try:
                link, _ = self._door.accept()
            except OSError:
                return
            with link, contextlib.suppress(OSError):
                listener = handed_over(link)
                if listener is not None:
                    break
        with listener:
            if self._hold(listener):
                self._take(listener)

    def _take(self, listener: socket.socket) -> None:
        while not self._closed:
            self._room.acquire()
            try:
                client, _ = listener.accept()
            except OSError:
                self._room.release()
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True, name="way out").start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, contextlib.suppress(OSError):
                if self._hold(client):
                    serve(client, self._allowed, self._environ, self._refuse)
        finally:
            with self._guard:
                self._open.discard(client)
            self._room.release()


def handed_over(link: socket.socket) -> socket.socket | None:
    """Return the listening TCP socket that the worker sent. None if it sent something else."""
    link.settimeout(_PATIENCE)
    _, numbers, _, _ = socket.recv_fds(link, 1, 1, socket.MSG_CMSG_CLOEXEC)
    for number in numbers[1:]:
        os.close(number)
    if not numbers:
        return None
    try:
        found = socket.socket(fileno=numbers[0])
    except OSError:
        os.close(numbers[0])
        return None
    try:
        listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if listens and found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM:
            found.settimeout(None)
            link.sendall(b".")
            return found
    except OSError:
        pass
    found.close()
    return None


def refusal_line(refused: Mapping[str, int]) -> str:
    """Return one line for people.

    >>> refusal_line({"a.example:443": 2, "b.example:80": 1})
    'network= refused a.example:443 (2 times), b.example:80'
    """
    rows = [name if count == 1 else f"{name} ({count} times)" for name, count in refused.items()]
    more = f", and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"network= refused {', '.join(rows[:5])}{more}"


__all__ = ["MOST", "Gate", "refusal_line"]
