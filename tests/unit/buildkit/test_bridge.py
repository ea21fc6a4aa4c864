"""Bytes between two sockets arrive whole, in both directions, up to the end of each direction."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from flyte_images.buildkit.bridge import Bridge, Splice
from flyte_images.buildkit.dial import Connection


def read_all(source: socket.socket) -> bytes:
    data = b""
    while part := source.recv(1 << 16):
        data += part
    return data


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=1 << 16), max_size=8), st.binary(max_size=1 << 19))
def test_both_directions_arrive_whole_and_end_independently(up: list[bytes], down: bytes) -> None:
    client, inner = socket.socketpair()
    outer, server = socket.socketpair()
    splice = Splice(inner, Connection(outer))
    got: list[bytes] = []
    with client, server:

        def serve() -> None:
            got.append(read_all(server))  # the client has ended; it still wants its answer
            server.sendall(down)
            server.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        for part in up:
            client.sendall(part)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == down
        thread.join()
    splice.close()
    assert got == [b"".join(up)]
    assert inner.fileno() == outer.fileno() == -1


def test_closing_ends_an_idle_connection() -> None:
    client, inner = socket.socketpair()
    outer, server = socket.socketpair()
    splice = Splice(inner, Connection(outer))
    splice.close()
    with client, server:
        assert client.recv(1) == server.recv(1) == b""


def test_another_process_cannot_use_the_bridge() -> None:
    outer, server = socket.socketpair()
    bridge = Bridge(lambda: Connection(outer))
    name = bridge.target.removeprefix("unix-abstract:")
    code = f"import socket; s = socket.socket(1); s.connect('\\0{name}'); s.sendall(b'x'); print(s.recv(1))"
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=False)
    assert done.stdout != "b'x'\n"
    with socket.socket(socket.AF_UNIX) as own, server:
        own.connect(f"\0{name}")
        own.sendall(b"hello")
        assert server.recv(5) == b"hello"
    bridge.close()
    assert str(os.getpid()) in name
