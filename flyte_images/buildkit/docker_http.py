"""One question to a Docker Engine's own API, over the same connection that its BuildKit is reached by. No http library:
to load one takes longer than to build an image that is there already."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from ..errors import EngineError
from .address import Docker
from .dial import dial


def inspect_image(engine: Docker, name: str, *, patience: float = 10.0) -> dict[str, Any] | None:
    """What the engine says of the image `name`; None if it has none of that name. Raises EngineError."""
    status, body = get(engine, f"/images/{quote(name, safe=':/@')}/json", patience=patience)
    if status == 404:
        return None
    if status != 200:
        raise EngineError(f"{engine} answers {status} when asked for the image `{name}`: {body[:300]!r}")
    return dict(json.loads(body))


def get(engine: Docker, path: str, *, patience: float = 10.0) -> tuple[int, bytes]:
    """The status and the body of a GET. HTTP 1.0, so that the body ends where the connection does."""
    connection = dial(engine.api, patience=patience)
    try:
        connection.socket.settimeout(patience)
        connection.socket.sendall(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        answer = b""
        while data := connection.socket.recv(1 << 16):
            answer += data
    except OSError as error:
        raise EngineError(
            f"{engine} did not answer: {connection.said() or error}", hint="is a Docker Engine running there?"
        ) from None
    finally:
        connection.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    try:
        return int(head.split(b" ", 2)[1]), body
    except (IndexError, ValueError):
        raise EngineError(f"{engine} is no Docker Engine: it answers {head[:80]!r}") from None
