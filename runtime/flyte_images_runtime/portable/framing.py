"""JSON documents over a socket: four bytes of length, then the text. For both sides; standard library of Python 3.8."""

from __future__ import annotations

from flyte_images_runtime.portable import fast_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LARGEST = 1 << 28  # bytes
CLEAN, UNCLEAN = b"c", b"u"
"""Sent after the answer to a call of a warm container: whether all traces of the call are removed there."""


def send(link: Any, document: Any) -> None:
    """Send one document. Raise ValueError if it is too long."""
    text = fast_json.dumps(document).encode()
    if len(text) > LARGEST:
        raise ValueError(f"a message of {len(text) >> 20} MiB is too long")
    link.sendall(head(text) + text)


def head(text: bytes) -> bytes:
    """Return the bytes before a document's text: its length."""
    return len(text).to_bytes(4, "big")


def receive(link: Any) -> Any:
    """Receive one document; return None when the other side has closed. Raise ValueError for other bytes."""
    first = _exactly(link, 4)
    if first is None:
        return None
    length = int.from_bytes(first, "big")
    if length > LARGEST:
        raise ValueError(f"a message of {length} bytes is too long")
    text = _exactly(link, length)
    return None if text is None else fast_json.loads(text)


def _exactly(link: Any, count: int) -> bytes | None:
    parts = []
    while count:
        arrived = link.recv(min(count, 1 << 20))
        if not arrived:
            return None
        parts.append(arrived)
        count -= len(arrived)
    return b"".join(parts)
