"""Servers that tasks try to reach: on another machine, which is a network namespace, and on this machine."""

from __future__ import annotations

import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flyte_images_runtime.egress import netlink
from flyte_images_runtime.engines.docker.way_out import in_thread

NEAR, FAR = "198.18.77.1", "198.18.77.2"  # of the range for benchmarks (RFC 2544), which no network uses


@contextmanager
def another_machine() -> Iterator[tuple[str, int]]:
    """Yield address and port of a server that says hello at the other end of a cable. Needs root."""
    with cable() as (namespace, _):
        made: list[socket.socket] = []
        inside(namespace, lambda: made.append(socket.create_server(("", 0))))
        with made[0] as server, saying_hello(server):
            yield FAR, server.getsockname()[1]


@contextmanager
def cable() -> Iterator[tuple[int, bytes]]:
    """Yield a network namespace with the address FAR, and the hardware address of the end that has NEAR."""
    name = f"fi-test-{secrets.token_hex(3)}"
    end = f"veth{secrets.token_hex(4)}"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)
        for where, device, address in (((), end, NEAR), (("-n", name), "eth0", FAR)):
            _ip(*where, "address", "add", f"{address}/30", "dev", device)
            _ip(*where, "link", "set", device, "up")
        with open(f"/run/netns/{name}") as namespace, netlink.netlink() as link:
            yield namespace.fileno(), netlink.hardware_address(link, socket.if_nametoindex(end))
    finally:
        _ip("netns", "delete", name)  # the interface goes with it


def inside(namespace: int, work: Callable[[], object]) -> None:
    """Run `work` in a thread that has entered the network namespace."""

    def do() -> None:
        netlink.enter(namespace)
        work()

    in_thread(do)


@contextmanager
def this_machine() -> Iterator[int]:
    """Yield the port of a server that says hello on every address of this machine."""
    with socket.create_server(("", 0)) as server, saying_hello(server):
        yield server.getsockname()[1]


@contextmanager
def saying_hello(server: socket.socket) -> Iterator[None]:
    """Let the server say hello on each connection."""

    def serve() -> None:
        while True:
            try:
                link, _ = server.accept()
            except OSError:
                return
            with link:
                link.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True, capture_output=True, text=True)
