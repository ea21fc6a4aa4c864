"""Ways that lead to the engine under test: a TCP port, and a program in the place of `buildctl`."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from flyte_images.buildkit.address import Address
from flyte_images.buildkit.bridge import Splice
from flyte_images.buildkit.client import Client
from flyte_images.buildkit.dial import dial
from flyte_images.buildkit.discovery import choose

from ..integration.buildkit.graphs import Graph, salt

_LEAD = """
import os, sys, threading
from flyte_images.buildkit.dial import dial
from flyte_images.buildkit.discovery import choose
s = dial(choose(None, environ=os.environ).address).socket
def up():
    while data := os.read(0, 65536): s.sendall(data)
    s.shutdown(1)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(65536): os.write(1, data)
"""


def here() -> Address:
    """The engine under test."""
    return choose(None, environ=os.environ).address


def works(client: Client) -> None:
    """Solve something, with a megabyte each way, and close."""
    with client:
        graph = Graph()
        client.solve(graph.definition(graph.file("/data", (salt() * 60_000).encode())))


def leading(path: Path, *, before: str = "") -> None:
    """Make a program at `path` whose standard input and output lead to the engine; `before` is run first."""
    setting = f"os.environ.update({ {key: os.environ[key] for key in _SETTINGS if key in os.environ}!r})"
    path.write_text(
        f"#!{sys.executable}\nimport os, sys\nsys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        f"{before}\n{setting}\n{_LEAD}"
    )
    path.chmod(0o755)


_SETTINGS = ("PATH", "HOME", "BUILDKIT_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "BUILDX_BUILDER")


@contextlib.contextmanager
def listening(to: Address, certificates: Path | None = None) -> Iterator[int]:
    """A TCP port that leads to `to`; with certificates over TLS, for clients that have one of the same authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificates:
        context.load_cert_chain(certificates / "server-cert.pem", certificates / "server-key.pem")
        context.load_verify_locations(certificates / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    splices: list[Splice] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                try:
                    end = context.wrap_socket(plain, server_side=True) if certificates else plain
                except ssl.SSLError:
                    plain.close()
                    continue
                splices.append(Splice(end, dial(to)))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for splice in splices:
                splice.close()
