"""An image in one engine's store -> another's, over both APIs, as a stream without a file between.

Not by python-on-whales: its `image.load` from a stream loses Podman's error message and cannot be ended half-way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO
from urllib.parse import quote

from ...errors import ImageCannotStart
from ...system.http_exchange import Exchange
from ..docker.api import Api, connect, lost
from ..docker.images import open_image, open_stream

_CHUNK = 1 << 20
_PATIENCE = 600.0  # seconds without progress; the receiving store unpacks meanwhile


def open_layout(api: Api, reference: str) -> IO[bytes]:
    """Return the image as an archive of an OCI layout. Podman's Docker-compatible API writes another format."""
    return open_stream(api, reference, f"/v4.0.0/libpod/images/{quote(reference)}/get?format=oci-archive")


def hand_over(source: Api, target: Api, reference: str) -> None:
    """Copy the image and its name. Raise ImageCannotStart with the receiver's message if it refuses the image."""
    headers = {"Content-Type": "application/x-tar"}
    try:
        with Exchange(connect(target.address, _PATIENCE)) as receiver, open_image(source, reference) as archive:
            receiver.request("POST", "/v1.41/images/load?quiet=1", headers=headers, body=_pieces(archive))
            message = receiver.read().decode(errors="replace")
            status = receiver.status
    except OSError as error:
        raise lost(target.address, error) from error
    if status != 200 or "errorDetail" in message:
        raise ImageCannotStart(
            f"image {reference} could not be loaded: {message[:500]}",
            hint="check the free space of its disk",
        )


def _pieces(answer: IO[bytes]) -> Iterator[bytes]:
    while piece := answer.read(_CHUNK):
        yield piece
