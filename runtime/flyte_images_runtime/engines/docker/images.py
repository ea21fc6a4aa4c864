"""Images as streams: out of Docker's store."""

from __future__ import annotations

import http.client
from typing import IO, cast
from urllib.parse import urlencode

from ...failures import ImageCannotStart
from .api import Api, Connection, lost

_PATIENCE = 600.0  # seconds for one piece


def open_image(api: Api, reference: str) -> IO[bytes]:
    """Return the archive that `docker save` writes; its end closes the connection."""
    connection = Connection(api.address, _PATIENCE)
    try:
        connection.request(
            "GET", f"/v1.43/images/get?{urlencode({'names': reference})}", headers={"Connection": "close"}
        )
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise lost(api.address, error) from error
    if answer.status != 200:
        told = answer.read(500).decode(errors="replace")
        connection.close()
        raise ImageCannotStart(f"the engine cannot give image {reference}: {told}")
    return cast("IO[bytes]", answer)
