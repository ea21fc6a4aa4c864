"""Documents of untrusted peers are received within bounds."""

from __future__ import annotations

import queue
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flyte_images_runtime.execution.frame_server import Bounds, FrameServer, Received
from flyte_images_runtime.portable import framing

Start = Callable[[Bounds], tuple[Callable[[], socket.socket], "queue.Queue[Received]"]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    servers: list[FrameServer] = []
    links: list[socket.socket] = []

    def make(bounds: Bounds) -> tuple[Callable[[], socket.socket], queue.Queue[Received]]:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "door"))
        listener.listen(8)
        taken: queue.Queue[Received] = queue.Queue()
        servers.append(FrameServer(listener, bounds, taken.put, refusal=lambda said: {"no": said}, name="test"))

        def dial() -> socket.socket:
            link = socket.socket(socket.AF_UNIX)
            link.settimeout(20)
            link.connect(str(tmp_path / "door"))
            links.append(link)
            return link

        return dial, taken

    yield make
    for server in servers:
        server.close()
    for link in links:
        link.close()


def test_a_document_is_taken_and_answered(start: Start) -> None:
    dial, taken = start(Bounds(frame=100, total=100))
    link = dial()
    text = framing.head(b'{"a": 1}') + b'{"a": 1}'
    for at in range(len(text)):
        link.sendall(text[at : at + 1])
    with taken.get(timeout=20) as received:
        assert received.text == b'{"a": 1}'
        received.answer([1, 2])
    assert framing.receive(link) == [1, 2]


def test_a_document_that_is_too_long_is_refused_by_its_head(start: Start) -> None:
    """D10: nothing of the document is received."""
    dial, _ = start(Bounds(frame=100, total=100))
    link = dial()
    link.sendall((240 << 20).to_bytes(4, "big"))
    assert framing.receive(link) == {"no": f"a message of {240 << 20} bytes is too long: 100 are allowed"}


def test_documents_above_the_total_wait_in_the_kernel(start: Start) -> None:
    """D10: the second document is taken when the first is closed."""
    dial, taken = start(Bounds(frame=60, total=100))
    text = b'"%s"' % (b"x" * 58)
    for _ in range(2):
        dial().sendall(framing.head(text) + text)
    first = taken.get(timeout=20)
    with pytest.raises(queue.Empty):
        taken.get(timeout=0.2)
    first.close()
    taken.get(timeout=20).close()


def test_connections_above_the_bound_are_not_accepted(start: Start) -> None:
    """D10: until another connection is closed."""
    dial, taken = start(Bounds(frame=100, total=100, connections=1))
    first, second = dial(), dial()
    for link in (second, first):
        framing.send(link, "x")
    received = taken.get(timeout=20)
    with pytest.raises(queue.Empty):
        taken.get(timeout=0.2)
    received.close()
    taken.get(timeout=20).close()


def test_half_a_document_is_dropped_after_its_time(start: Start) -> None:
    """D10: a silent peer, and one that stops half-way."""
    dial, _ = start(Bounds(frame=100, total=100, patience=0.1))
    silent, half = dial(), dial()
    half.sendall((50).to_bytes(4, "big") + b"[1")
    for link in (silent, half):
        assert link.recv(1) == b""
