"""The proxy through which a hostile task reaches its allowed names."""

from __future__ import annotations

import array
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from flyte_images_runtime.egress import gate as gates
from flyte_images_runtime.egress import proxy
from flyte_images_runtime.egress.gate import Gate
from flyte_images_runtime.task.exchange import Exchange, make_exchange
from flyte_images_runtime.worker import paths

Dial = Callable[[bytes], socket.socket]
Open = Callable[..., tuple[Gate, Dial]]


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    made = make_exchange()
    yield made
    made.remove()


def hand_over(exchange: Exchange, given: int) -> bytes:
    """Do the worker's part in the container. The answer is `.` if the caller accepts the socket."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(10)
        door.connect(str(exchange.inputs / paths.PROXY))
        door.sendmsg([b"l"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [given]))])
        return door.recv(1)


@pytest.fixture
def opened(exchange: Exchange) -> Iterator[Open]:
    with ExitStack() as stack:

        def open_it(*allowed: str, environ: dict[str, str] | None = None) -> tuple[Gate, Dial]:
            gate = stack.enter_context(Gate(exchange, allowed, environ or {}))
            with socket.create_server(("127.0.0.1", 0)) as listener:
                assert hand_over(exchange, listener.fileno()) == b"."
                address = listener.getsockname()

            def dial(request: bytes) -> socket.socket:
                link = stack.enter_context(socket.create_connection(address, timeout=10))
                link.sendall(request)
                return link

            return gate, dial

        yield open_it


@pytest.fixture
def echo() -> Iterator[int]:
    """Give the port of a server that sends back everything until the end."""

    def answer(link: socket.socket) -> None:
        with link:
            while arrived := link.recv(1 << 16):
                link.sendall(arrived)

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                link, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(link,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def everything(link: socket.socket) -> bytes:
    found = b""
    while arrived := link.recv(1 << 16):
        found += arrived
    return found


def test_bytes_go_both_ways_and_both_ends_are_passed_on(opened: Open, echo: int) -> None:
    gate, dial = opened("127.0.0.1")
    link = dial(f"CONNECT 127.0.0.1:{echo} HTTP/1.1\r\n\r\n".encode() + b"early ")
    content = os.urandom(3 << 20)

    def send() -> None:
        link.sendall(content)
        link.shutdown(socket.SHUT_WR)

    threading.Thread(target=send, daemon=True).start()
    assert everything(link) == b"HTTP/1.1 200 Connection established\r\n\r\nearly " + content
    assert gate.take_refused() == {}


def test_a_plain_request_reaches_the_server_as_a_plain_request(opened: Open, echo: int) -> None:
    _, dial = opened(f"127.0.0.1:{echo}")
    link = dial(
        f"GET http://127.0.0.1:{echo}/a?b HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: x\r\n\r\n".encode()
    )
    link.shutdown(socket.SHUT_WR)
    assert everything(link) == f"GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:{echo}\r\nConnection: close\r\n\r\n".encode()


def test_a_host_outside_the_list_is_refused_and_counted(opened: Open, echo: int) -> None:
    """Network: the run reports refused hosts by name."""
    gate, dial = opened("127.0.0.2", "localhost", "*.example.com:443")
    asked = [f"127.0.0.1:{echo}", f"localhost:{echo}", "example.com:443", "a.example.com:80", "example.com:443"]
    for one in (*asked, f"2130706433:{echo}", f"0x7f.1:{echo}"):
        assert everything(dial(f"CONNECT {one} HTTP/1.1\r\n\r\n".encode())).startswith(b"HTTP/1.1 403 ")
    refused = gate.take_refused()
    assert refused.pop(next(key for key in refused if key.startswith(f"localhost:{echo} (leads to "))) == 1
    assert refused == {
        "example.com:443": 2,
        f"127.0.0.1:{echo}": 1,
        "a.example.com:80": 1,
        f"2130706433:{echo}": 1,
        f"0x7f.1:{echo}": 1,
    }
    assert gate.take_refused() == {}


def test_the_connection_goes_to_the_checked_address(opened: Open, echo: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network: a name server that gives another address the second time (rebinding) changes nothing."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1" if len(asked) == 1 else "127.0.0.9", port))]

    reached: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        reached.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    _, dial = opened("rebinds.example", "127.0.0.1")
    link = dial(b"")
    monkeypatch.setattr(proxy.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(proxy.socket, "create_connection", connect)
    link.sendall(f"CONNECT rebinds.example:{echo} HTTP/1.1\r\n\r\n".encode())
    assert everything(link).startswith(b"HTTP/1.1 502 ")
    assert (asked, reached) == (["rebinds.example"], [("127.0.0.1", echo)])


NO_REQUESTS = (
    *(b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"CONNECT a HTTP/1.1\r\n\r\n", b"CONNECT a:99999 HTTP/1.1\r\n\r\n"),
    *(b"CONNECT \x1b[2J:1 HTTP/1.1\r\n\r\n", b"GET file:///etc/passwd HTTP/1.1\r\n\r\n", b"\x05\x01\x00\r\n\r\n"),
    *(b"CONNECT a%0d:1 HTTP/1.1\r\n\r\n", b"GET http://a:b@[::1 HTTP/1.1\r\n\r\n", b"x" * 200_000),
)


@pytest.mark.parametrize("request_", NO_REQUESTS)
def test_bytes_that_are_not_a_request_are_refused(opened: Open, request_: bytes) -> None:
    gate, dial = opened("example.org")
    try:
        assert everything(dial(request_)).startswith(b"HTTP/1.1 400 ")
    except ConnectionError:  # more was sent than is read
        assert len(request_) > proxy._HEAD
    assert gate.take_refused() == {}


def test_connections_and_refused_names_are_bounded(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """D10: a task that opens 1500 connections at once cannot make 1500 threads in the caller."""
    gate, dial = opened("example.org")
    before = threading.active_count()
    links = [dial(b"CONNECT ") for _ in range(gates.MOST + 40)]
    while gate._room.acquire(blocking=False):  # the last connections are being accepted
        gate._room.release()
    assert threading.active_count() <= before + gates.MOST + 1
    for link in links:
        link.close()
    for number in range(gates._NAMES + 20):
        gate._refuse(f"{number}.example:1", "not named")
    refused = gate.take_refused()
    assert len(refused) == gates._NAMES + 1 and refused["others"] == 20


def test_only_a_listening_socket_is_accepted(exchange: Exchange) -> None:
    with Gate(exchange, ["example.org"], {}), socket.socket() as unbound, open(os.devnull) as file:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            for one in (unbound.fileno(), file.fileno(), ours.fileno()):
                assert hand_over(exchange, one) == b""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            assert hand_over(exchange, listener.fileno()) == b"."


def test_the_end_of_the_task_ends_its_connections(opened: Open, echo: int) -> None:
    gate, dial = opened("127.0.0.1")
    link = dial(f"CONNECT 127.0.0.1:{echo} HTTP/1.1\r\n\r\n".encode())
    assert link.recv(100).startswith(b"HTTP/1.1 200")
    gate.close()
    assert link.recv(100) == b""


def test_requests_to_this_machines_proxy_have_its_login(opened: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        port = upstream.getsockname()[1]
        _, dial = opened("a.example", environ={"https_proxy": f"http://me:pw@127.0.0.1:{port}", "SECRET_PROXY": "x"})
        link = dial(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
        taken, _ = upstream.accept()
        with taken:
            taken.settimeout(10)
            asked = taken.recv(1000)
            taken.sendall(b"HTTP/1.1 200 fine\r\nA: b\r\n\r\nhello")
        assert asked.startswith(b"CONNECT a.example:443 HTTP/1.1\r\n") and b"Basic bWU6cHc=\r\n" in asked
        assert everything(link) == b"HTTP/1.1 200 Connection established\r\n\r\nhello"
