"""The exporters for an engine's image store and the image's target; where an image is loaded."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

import pytest

from flyte_images.buildkit.address import Docker, Unix
from flyte_images.buildkit.capabilities import Capabilities, Worker
from flyte_images.buildkit.discovery import engine
from flyte_images.buildkit.export_image import Target, exporters
from flyte_images.buildkit.exporters import Exporter, Image, Load, Moby
from flyte_images.buildkit.load import find_store
from flyte_images.errors import EngineError

NAMES = ("docker.io/library/x:1",)
DOCKER = {"org.mobyproject.buildkit.worker.moby.host-gateway-ip": "10.0.0.1"}
OCI = {"org.mobyproject.buildkit.worker.executor": "oci"}
CONTAINERD = {"org.mobyproject.buildkit.worker.executor": "containerd"}
MERGES = frozenset({"mergeop", "diffop"})


def take(archive: Iterable[bytes]) -> None:
    raise AssertionError("nothing is sent")


def image(*, push: bool = False, unpack: bool = True, store: bool = True) -> Image:
    return Image(names=NAMES, push=push, unpack=unpack, store=store)


LOADED = Load(into=take, names=NAMES)


@pytest.mark.parametrize(
    ("labels", "features", "push", "keep", "asked"),
    [
        (DOCKER, MERGES, False, True, [image()]),
        (DOCKER, MERGES, True, True, [image(push=True)]),
        (DOCKER, MERGES, True, False, [image(push=True, unpack=False, store=False)]),
        (CONTAINERD, MERGES, False, True, [image()]),
        (DOCKER, frozenset(), False, True, [Moby(names=())]),
        (DOCKER, frozenset(), True, True, [Moby(names=())]),
        (OCI, MERGES, False, True, [LOADED]),
        (OCI, MERGES, True, True, [image(push=True, unpack=False), LOADED]),
        (OCI, MERGES, True, False, [image(push=True, unpack=False, store=False)]),
    ],
)
def test_exporters_for_each_kind_of_engine(
    labels: dict[str, str], features: frozenset[str], push: bool, keep: bool, asked: list[Exporter]
) -> None:
    capabilities = Capabilities(engine="e", features=features, workers=(Worker(id="", labels=labels, platforms=()),))
    target = Target(names=NAMES, push=push, keep=keep, into=lambda: take)
    assert list(exporters(capabilities, target)) == asked
    for exporter in asked:
        capabilities.check_output(exporter)


def test_an_image_without_a_destination_is_refused() -> None:
    capabilities = Capabilities(engine="e", features=MERGES, workers=(Worker(id="", labels=OCI, platforms=()),))
    with pytest.raises(EngineError, match="neither pushed nor kept"):
        exporters(capabilities, Target(names=NAMES, keep=False))
    (only,) = exporters(capabilities, Target(names=NAMES))
    with pytest.raises(EngineError, match="no image store"):
        capabilities.check_output(only)


def test_an_image_is_loaded_into_the_engine_of_docker(tmp_path: Path) -> None:
    assert engine(environ={"DOCKER_HOST": "unix:///a", "BUILDKIT_HOST": "unix:///b"}) == Docker(Unix("/a"))
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text('{"currentContext": "gone"}')
    with pytest.raises(EngineError, match="no Docker context `gone`"):
        engine(environ={"HOME": str(tmp_path)})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "docker.sock"))
        found = engine(environ={"XDG_RUNTIME_DIR": str(tmp_path)})
    assert found is not None
    assert str(found.api) in (f"unix://{tmp_path}/docker.sock", "unix:///var/run/docker.sock")


def test_without_docker_an_image_goes_to_podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyte_images.buildkit.load.engine", lambda environ: None)
    with pytest.raises(EngineError, match="no Docker Engine and no Podman") as caught:
        find_store({"PATH": str(tmp_path)})
    assert caught.value.hint
    (tmp_path / "podman").touch(0o755)
    assert find_store({"PATH": str(tmp_path)})
