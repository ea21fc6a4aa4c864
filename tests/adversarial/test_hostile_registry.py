"""A hostile registry: each answer to the lookup of an image ends in one error, and no login goes to another host."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images.bootstrap import select
from flyte_images.bootstrap.select import find_base
from flyte_images.buildkit.build_context import BuildContext
from flyte_images.buildkit.client import Client, connect
from flyte_images.errors import FlyteImagesError
from flyte_images_layers import ReferenceBase
from tests.fakes.registry import Registry, serve

pytestmark = pytest.mark.engine

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def image(config: bytes, *, announced: bytes | None = None) -> tuple[str, bytes, dict[str, bytes]]:
    """A manifest of an image without layers; the registry sends `config` under the digest of `announced`."""
    named = sha(config if announced is None else announced)
    body = {"mediaType": CONFIG, "digest": named, "size": len(config if announced is None else announced)}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": body, "layers": []}).encode()
    return MANIFEST, manifest, {named: config}


ANSWERS: dict[str, tuple[str, bytes, dict[str, bytes]]] = {
    "a page": ("text/html", b"<html>\x1b]0;pwned\x07</html>", {}),
    "no JSON": (MANIFEST, b"{", {}),
    "another form": (MANIFEST, b'{"schemaVersion": 2, "config": 7, "layers": "x"}', {}),
    "huge": (MANIFEST, b'{"a": "' + b"x" * (16 << 20) + b'"}', {}),
    "deep": (MANIFEST, b"[" * 200_000, {}),
    "a configuration that is a page": image(b"<html>"),
    "a configuration that is a list": image(b"[]"),
    "a configuration of other types": image(b'{"os": "linux", "architecture": "amd64", "config": {"Env": [1]}}'),
    "a configuration of other bytes": image(b'{"os": "linux"}', announced=b'{"os": "other"}'),
    "no configuration": image(b"{}", announced=b"[]"),
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connect() as client:
        yield client


def look(registry: Registry, client: Client, tmp_path: Path) -> str:
    """Return the error of the lookup of an image."""
    base = ReferenceBase(reference=f"{registry.address}/x:1")
    environ = {"HOME": str(tmp_path), "FLYTE_IMAGES_CACHE": str(tmp_path / "cache")}
    with pytest.raises(FlyteImagesError) as caught:
        find_base(base, "linux/amd64", BuildContext(environ=environ, connect=lambda: client))
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize("answer", sorted(ANSWERS))
def test_an_image_that_is_none_is_one_error(answer: str, client: Client, tmp_path: Path) -> None:
    """D18, D25: no answer of a registry causes a fault of this package or an error of unlimited length."""
    kind, manifest, blobs = ANSWERS[answer]
    with serve(
        Registry(manifests={"x:1": (kind, manifest), f"x:{sha(manifest)}": (kind, manifest)}, blobs=blobs)
    ) as it:
        assert len(look(it, client, tmp_path)) < 3000


@pytest.mark.parametrize("status", [401, 403, 404, 418, 500])
def test_a_refusal_is_one_error(status: int, client: Client, tmp_path: Path) -> None:
    """D18: as above."""
    with serve(Registry(fault=lambda method, path: status)) as it:
        assert len(look(it, client, tmp_path)) < 3000


def test_a_registry_that_never_answers_is_given_up(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D18: as above."""
    monkeypatch.setattr(select, "_PATIENCE", 1.0)
    with serve(Registry(fault=lambda method, path: 0)) as it:
        assert "does not answer" in look(it, client, tmp_path)
        it.hanging.set()
