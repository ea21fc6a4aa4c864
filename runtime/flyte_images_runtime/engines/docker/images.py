"""Images in Docker's store: what they are made of, and themselves as streams."""

from __future__ import annotations

import http.client
from typing import IO, cast
from urllib.parse import urlencode

from ...errors import EngineLost, ImageCannotStart
from .api import Api, Connection, Refused, lost

_PATIENCE = 600.0  # seconds for one piece


def layers_of(api: Api, reference: str) -> tuple[str, ...]:
    """Return the image's layers by content, which no store changes; none if the engine has no such image."""
    try:
        found = api.call("GET", f"/images/{reference}/json")
    except Refused as refused:
        if refused.status == 404:
            return ()
        raise EngineLost(f"the engine cannot say whether it has {reference}: {refused}") from None
    return tuple(map(str, (found.get("RootFS") or {}).get("Layers") or ()))


def open_image(api: Api, reference: str) -> IO[bytes]:
    """Return the archive that `docker save` writes; its end closes the connection."""
    return open_stream(api, reference, f"/v1.43/images/get?{urlencode({'names': reference})}")


def open_stream(api: Api, reference: str, path: str) -> IO[bytes]:
    """Return the archive of the image that the engine gives at `path`; its end closes the connection."""
    connection = Connection(api.address, _PATIENCE)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise lost(api.address, error) from error
    if answer.status != 200:
        told = answer.read(500).decode(errors="replace")
        connection.close()
        raise ImageCannotStart(f"the engine cannot give image {reference}: {told}")
    return cast("IO[bytes]", answer)
