"""Images in Docker's store: their layers, and whole images as streams.

Not through python-on-whales: a start waits for the layers, the API needs no client program, and a transfer by the
library cannot be ended half-way and loses the engine's message.
"""

from __future__ import annotations

from typing import IO
from urllib.parse import urlencode

from ...errors import EngineLost, ImageCannotStart
from ...system.http_exchange import Exchange
from .api import Api, Refused, connect, lost

_PATIENCE = 600.0  # seconds without a piece of the stream


def layers_of(api: Api, reference: str) -> tuple[str, ...]:
    """Return the digests of the image's layers, which are the same in every store; () if the engine lacks the image."""
    try:
        found = api.call("GET", f"/images/{reference}/json")
    except Refused as refused:
        if refused.status == 404:
            return ()
        raise EngineLost(f"the engine does not answer whether it has {reference}: {refused}") from None
    return tuple(map(str, (found.get("RootFS") or {}).get("Layers") or ()))


def open_image(api: Api, reference: str) -> IO[bytes]:
    """Return the archive that `docker save` writes. Closing it closes the connection."""
    return open_stream(api, reference, f"/v1.43/images/get?{urlencode({'names': reference})}")


def open_stream(api: Api, reference: str, path: str) -> IO[bytes]:
    """Return the archive of the image that the engine sends for `path`. Closing it closes the connection."""
    try:
        exchange = Exchange(connect(api.address, _PATIENCE))
    except OSError as error:
        raise lost(api.address, error) from error
    try:
        exchange.request("GET", path)
    except OSError as error:
        exchange.close()
        raise lost(api.address, error) from error
    content = exchange.file()
    if exchange.status != 200:
        with content:
            message = content.read(500).decode(errors="replace")
        raise ImageCannotStart(f"the engine cannot send image {reference}: {message}")
    return content
