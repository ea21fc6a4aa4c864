"""One HTTP exchange against a server that answers with fixed bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from flyte_images_runtime.system.http_exchange import BrokenExchangeError, Exchange


@contextlib.contextmanager
def server(answer: bytes, received: bytearray | None = None, end: bytes = b"\r\n\r\n") -> Iterator[Exchange]:
    """An exchange whose other end reads a request up to `end`, answers and closes."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        data = bytearray()
        with theirs, contextlib.suppress(OSError):  # the client may have closed the connection
            while not data.endswith(end):
                data += theirs.recv(1 << 16)
            if received is not None:
                received.extend(data)
            theirs.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with Exchange(ours) as exchange:
        yield exchange
    thread.join(10)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
    ],
)
def test_content_of_every_framing(answer: bytes) -> None:
    with server(answer) as exchange:
        exchange.request("GET", "/x")
        assert (exchange.status, exchange.read()) == (200, b"hello")


def test_an_answer_without_content_does_not_wait_for_any() -> None:
    with server(b"HTTP/1.1 204 No Content\r\n\r\n") as exchange:
        exchange.request("DELETE", "/x")
        assert (exchange.status, exchange.read()) == (204, b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not http\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
def test_an_answer_that_ends_early_is_an_error(answer: bytes) -> None:
    with server(answer) as exchange, pytest.raises(BrokenExchangeError):
        exchange.request("GET", "/x")
        exchange.read()


def test_the_file_of_the_content_closes_the_connection() -> None:
    with server(b"HTTP/1.0 200 OK\r\n\r\nhello") as exchange:
        exchange.request("GET", "/x")
        with exchange.file() as file:
            assert (file.read(2), file.read()) == (b"he", b"llo")
        with pytest.raises(ValueError, match="closed"):
            exchange.read()


def test_a_body_is_sent_whole_or_in_chunks() -> None:
    received = bytearray()
    with server(b"HTTP/1.1 200 OK\r\n\r\n", received, end=b"body") as exchange:
        exchange.request("POST", "/x", headers={"A": "b"}, body=b"the body")
    assert received.startswith(b"POST /x HTTP/1.1\r\n")
    assert received.endswith(b"\r\nA: b\r\nContent-Length: 8\r\n\r\nthe body")
    received = bytearray()
    with server(b"HTTP/1.1 200 OK\r\n\r\n", received, end=b"0\r\n\r\n") as exchange:
        exchange.request("POST", "/x", body=iter([b"one", b"", b"two more"]))
    assert received.endswith(b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n8\r\ntwo more\r\n0\r\n\r\n")


def test_an_exception_of_the_body_passes_through() -> None:
    def body() -> Iterator[bytes]:
        yield b"one"
        raise PermissionError("the file of the body")

    answer = b"HTTP/1.1 200 OK\r\n\r\n"
    with server(answer, end=b"one\r\n") as exchange, pytest.raises(PermissionError, match="of the body"):
        exchange.request("POST", "/x", body=body())
