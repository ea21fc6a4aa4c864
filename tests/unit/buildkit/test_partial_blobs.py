"""The images of a session that a stuck transfer may belong to."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flyte_images import llb
from flyte_images.buildkit.partial_blobs import layouts_of
from flyte_images.buildkit.services.content import Readings
from flyte_images.store.oci_layout import LAYER_TAR, Layer, Layout

LINUX = llb.Platform.parse("linux/amd64")


def image(layout: Layout, data: bytes) -> tuple[str, str]:
    """Write an image of one layer; return the digests of its manifest and of the layer."""
    layer = layout.put_blob(data, LAYER_TAR)
    made = layout.put_image([Layer(layer, layer.digest)], {"architecture": "amd64", "os": "linux"})
    return made.digest, layer.digest


def test_only_images_with_a_partly_read_blob(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (one, layer), (other, _) = image(layout, b"one" * 400), image(layout, b"other" * 400)
    states = [
        llb.oci_layout(f"local/a@{digest}", store=store, platform=LINUX)
        for digest, store in ((one, "ours"), (other, "ours"), (one, "elsewhere"), ("sha256:" + "0" * 64, "ours"))
    ]
    definition = llb.marshal(llb.merge(states)).data
    assert layouts_of(definition, {"ours": tmp_path}, frozenset({layer})) == ((tmp_path, one),)
    assert layouts_of(definition, {"ours": tmp_path}, frozenset()) == ()


def test_a_blob_that_is_read_in_pieces_is_checked_as_a_whole() -> None:
    data = bytes(range(250))
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    readings = Readings()
    readings.asked(digest)
    assert readings.fits(digest, 0, data[:100], 250)
    assert readings.fits(digest, 0, data[:50], 250)  # from the beginning again
    assert readings.fits(digest, 50, data[50:200], 250)
    assert readings.unread == {digest}
    assert readings.fits(digest, 200, data[200:], 250)
    assert not readings.unread
    assert readings.fits(digest, 0, data[:200], 250)
    assert not readings.fits(digest, 200, data[201:] + b"?", 250)
    assert readings.fits(digest, 100, data[100:], 250)  # out of order: not checked here
