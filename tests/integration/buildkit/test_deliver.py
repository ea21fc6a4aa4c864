"""An image is exported to the engine's store, to registries, or, from an engine without a store, to Docker's store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_images.buildkit.address import Docker
from flyte_images.buildkit.client import Client, connect
from flyte_images.buildkit.discovery import engine
from flyte_images.buildkit.engine_api import find_image, load_image, push_image
from flyte_images.buildkit.export_image import Target, export_image
from flyte_images.buildkit.exporters import Load, Packing
from flyte_images.buildkit.load import ImageLoader, find_store, into_docker, into_podman
from flyte_images.buildkit.save import save
from flyte_images.buildkit.session import Session
from flyte_images.errors import BuildError, EngineError
from flyte_images.store.oci_layout import Layout

from ...fakes.engines import private_engine
from ...fakes.registry import Registry, serve
from .graphs import Graph, salt

pytestmark = pytest.mark.engine

PACKING = Packing(
    config=json.dumps({"architecture": "amd64", "os": "linux", "config": {"Labels": {"plan": "sha256:0"}}}),
    compression="zstd",
    epoch=1,
)


@pytest.fixture
def docker() -> Docker:
    found = engine(environ={key: value for key, value in os.environ.items() if key != "BUILDKIT_HOST"})
    assert found is not None
    return found


@pytest.fixture
def name(docker: Docker) -> Iterator[str]:
    """Yield an image name; afterwards the image is removed from Docker's store."""
    made = f"docker.io/library/flyte-images-test:{salt()}"
    yield made
    subprocess.run(("docker", "rmi", "--force", made), check=False, capture_output=True)


def definition() -> bytes:
    graph = Graph()
    return graph.definition(graph.file("/greeting", salt().encode() * 10_000))


def test_an_image_for_tasks_on_this_machine_is_in_the_store(client: Client, docker: Docker, name: str) -> None:
    """In the engine's own store, or in Docker's store if the engine has none."""
    target = Target(names=(name,), packing=PACKING, into=lambda: find_store(os.environ))
    done = export_image(client, definition(), target)
    found = find_image(docker, name)
    assert found is not None
    assert found.id == done.digest
    assert found.labels == {"plan": "sha256:0"}
    assert json.loads(client.read_blob(done.digest or ""))["config"]["digest"].startswith("sha256:")


def test_an_image_is_pushed_under_all_its_names_and_kept_too(client: Client, docker: Docker) -> None:
    with serve(Registry()) as one, serve(Registry()) as other:
        names = (f"{one.address}/team/app:1", f"{one.address}/team/app:latest", f"{other.address}/app:1")
        target = Target(names=names, packing=PACKING, push=True, into=lambda: find_store(os.environ))
        done = export_image(client, definition(), target)
        assert {"team/app:1", "team/app:latest", f"team/app:{done.digest}"} <= one.manifests.keys()
        assert {"app:1", f"app:{done.digest}"} <= other.manifests.keys()
        for name in names:
            found = find_image(docker, name)
            assert found is not None
            assert found.id == done.digest
        subprocess.run(("docker", "rmi", *names), check=True, capture_output=True)


def test_an_image_that_is_only_pushed_is_not_kept(client: Client, docker: Docker) -> None:
    with serve(Registry()) as registry:
        name = f"{registry.address}/team/app:1"
        export_image(client, definition(), Target(names=(name,), packing=PACKING, push=True, keep=False))
        assert "team/app:1" in registry.manifests
        assert find_image(docker, name) is None


def load(client: Client, name: str, take: ImageLoader) -> None:
    client.solve(definition(), exporters=[Load(into=take, names=(name,), packing=PACKING)])


def test_docker_loads_an_image_while_it_arrives(client: Client, docker: Docker, name: str) -> None:
    load(client, name, into_docker(docker))
    assert find_image(docker, name)
    assert not list(Path(os.environ["TMPDIR"]).iterdir())


def test_a_broken_transfer_leaves_no_image(client: Client, docker: Docker, name: str) -> None:
    def broken(archive: object) -> None:
        def some() -> Iterator[bytes]:
            yield next(iter(archive))  # type: ignore[call-overload]
            raise BuildError("the line is cut")

        load_image(docker, some())

    with pytest.raises(BuildError, match="the line is cut"):
        load(client, name, broken)
    assert find_image(docker, name) is None


def test_the_error_contains_dockers_reason_for_a_refused_image(docker: Docker) -> None:
    with pytest.raises(BuildError, match=r"archive/tar"):
        load_image(docker, iter([b"no tarball" * 1000] * 100))
    with pytest.raises(EngineError, match="cannot connect") as caught:
        load_image(replace(docker, api=type(docker.api)("/run/none.sock")), [])  # type: ignore[call-arg,arg-type]
    assert caught.value.hint


def test_an_image_of_dockers_store_is_copied_to_a_layout(
    client: Client, docker: Docker, name: str, tmp_path: Path
) -> None:
    done = export_image(client, definition(), Target(names=(name,), packing=PACKING, into=lambda: into_docker(docker)))
    layout = Layout(tmp_path / "layout")
    for _ in range(2):
        assert save(docker, name, "linux/amd64", layout) == done.digest
    assert layout.complete(done.digest or "")
    assert layout.config(done.digest or "")["config"]["Labels"] == {"plan": "sha256:0"}
    assert save(docker, name, "linux/arm64", layout) is None
    assert save(docker, f"{name}-none", "linux/amd64", layout) is None


@pytest.fixture
def podman(tmp_path: Path) -> Path:
    """A fake podman that fails on request, and otherwise stores its input."""
    program = tmp_path / "podman"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "assert sys.argv[1:] == ['load', '--quiet'], sys.argv\n"
        f"if os.path.exists({str(tmp_path / 'fail')!r}): sys.exit('no room in the store')\n"
        f"data = sys.stdin.buffer.read()\nopen({str(tmp_path / 'taken')!r}, 'wb').write(data)\n"
    )
    program.chmod(0o755)
    return program


def test_podman_loads_an_image_while_it_arrives(client: Client, podman: Path, name: str) -> None:
    load(client, name, into_podman(str(podman)))
    taken = podman.parent / "taken"
    listed = subprocess.run(("tar", "-tf", taken), check=True, capture_output=True)
    assert b"manifest.json" in listed.stdout.split()


def test_the_error_contains_podmans_reason_for_a_refused_image(client: Client, podman: Path, name: str) -> None:
    (podman.parent / "fail").touch()
    with pytest.raises(BuildError, match="no room in the store"):
        load(client, name, into_podman(str(podman)))


def test_the_old_store_keeps_an_image_and_its_engine_pushes_it(tmp_path: Path) -> None:
    with private_engine(tmp_path, containerd_store=False) as own, connect(own.address) as client:
        assert isinstance(client.address, Docker)
        target = Target(names=("docker.io/library/t:1", "docker.io/library/t:2"), packing=PACKING)
        graph = definition()
        done = {export_image(client, graph, target).digest for _ in range(2)}
        found = find_image(client.address, "t:2")
        assert found is not None
        assert {found.id} == done
        assert found.labels == {"plan": "sha256:0"}
        listed = subprocess.run(
            ("docker", "-H", own.api, "images", "--all", "--quiet"), check=True, capture_output=True
        )
        assert len(set(listed.stdout.split())) == 1  # what the exporter made is gone
        with pytest.raises(BuildError, match=r"127\.0\.0\.1:1"):  # its network namespace has no registry
            export_image(
                client, definition(), replace(target, names=("127.0.0.1:1/t:1",), push=True), session=Session()
            )
        assert find_image(client.address, "127.0.0.1:1/t:1")


@pytest.mark.parametrize("auth", ["", "basic", "bearer"])
def test_docker_pushes_an_image_of_its_store(client: Client, docker: Docker, auth: str) -> None:
    with serve(Registry(auth=auth)) as registry:
        name = f"{registry.address}/team/app:1"
        load(client, name, into_docker(docker))
        try:
            username, password = registry.login
            if auth:
                with pytest.raises(BuildError):
                    push_image(docker, name)
            push_image(docker, name, login={"username": username, "password": password})
            assert "team/app:1" in registry.manifests
        finally:
            subprocess.run(("docker", "rmi", name), check=True, capture_output=True)
