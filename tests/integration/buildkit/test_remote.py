"""Addresses that need another program, with that program: ssh to a server, docker to a container."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flyte_images.buildkit.client import Client, connect
from flyte_images.buildkit.discovery import choose, engine
from flyte_images.buildkit.engine_api import find_image
from flyte_images.buildkit.export_image import Target, export_image
from flyte_images.buildkit.load import find_store
from flyte_images.errors import EngineError

from ...fakes.addresses import here, leading, listening, works
from .conftest import Base
from .graphs import Graph, salt

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Server:
    """The server's address, and its log of requested commands."""

    host: str
    port: int


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that accepts one key, and a user whose ssh has that key."""
    real = shutil.which("ssh")
    assert real
    for name in ("host", "user"):
        argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name)
        subprocess.run(argv, check=True)
    there, ours = tmp_path / "there", tmp_path / "ours"
    there.mkdir()
    ours.mkdir()
    leading(there / "buildctl", before="if sys.argv[-1] != 'dial-stdio': sys.exit('not what is expected')")
    script = Path(__file__).parents[2] / "fakes" / "ssh_server.py"
    argv = (sys.executable, str(script), str(tmp_path / "host"), str(tmp_path / "user.pub"), str(there))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            port = int(server.stdout.readline())
            key = (tmp_path / "host.pub").read_text().split()[:2]
            (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {' '.join(key)}\n")
            (tmp_path / "config").write_text(
                f"Host *\n  IdentityFile {tmp_path}/user\n  UserKnownHostsFile {tmp_path}/known\n  BatchMode yes\n"
            )
            (ours / "ssh").write_text(f'#!/bin/sh\nexec {real} -F {tmp_path}/config "$@"\n')
            (ours / "ssh").chmod(0o755)
            monkeypatch.setenv("PATH", f"{ours}:{os.environ['PATH']}")
            yield Server("127.0.0.1", port)
        finally:
            server.terminate()


def docker(*argv: str) -> bytes:
    """The engine itself, not over ssh."""
    here = ("docker", "-H", "unix:///var/run/docker.sock")
    return subprocess.run((*here, *argv), check=True, capture_output=True).stdout


def test_a_buildkit_over_ssh(ssh: Server) -> None:
    works(connect(f"ssh://me@{ssh.host}:{ssh.port}"))


def test_a_docker_engine_over_ssh(ssh: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a DOCKER_HOST value: build there, find images, and load an image."""
    for name in ("BUILDKIT_HOST", "DOCKER_CONTEXT", "BUILDX_BUILDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"ssh://me@{ssh.host}:{ssh.port}")
    far = engine(environ=os.environ)
    assert far is not None
    name = f"docker.io/library/flyte-images-test:{salt()}"
    graph = Graph()
    with connect() as client:
        assert client.address == far == choose(None, environ=os.environ).address
        done = export_image(
            client, graph.definition(graph.file("/data", salt().encode() * 1000)), Target(names=(name,))
        )
    found = find_image(far, name)
    assert found is not None
    assert found.id == done.digest
    saved = docker("save", name)
    docker("rmi", name)
    find_store(os.environ)([saved])
    assert find_image(far, name) is not None
    docker("rmi", name)


def test_a_key_that_the_server_refuses(ssh: Server, tmp_path: Path) -> None:
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"), check=True)
    config = tmp_path / "config"
    config.write_text(config.read_text().replace("/user\n", "/other\n"))
    with pytest.raises(EngineError, match="Permission denied"):
        connect(f"ssh://me@{ssh.host}:{ssh.port}")


@pytest.fixture
def container(client: Client, base: Base) -> Iterator[str]:
    """A container with a `buildctl` that forwards to the engine under test."""
    name = f"flyte-images-test-{salt()}"
    with listening(here()) as port:
        graph = Graph()
        script = f"printf '#!/bin/sh\\nexec /bin/nc 127.0.0.1 {port}\\n' > /bin/buildctl; chmod 755 /bin/buildctl"
        head = graph.run(graph.layout(base.digest), script)
        target = Target(names=(f"docker.io/library/{name}:1",), into=lambda: find_store(os.environ))
        export_image(client, graph.definition(head), target, session=base.session)
        started = ("run", "--detach", "--network=host", "--name", name, f"{name}:1", "/bin/sleep", "600")
        try:
            docker(*started)
            yield name
        finally:
            docker("rm", "--force", name)
            docker("rmi", f"{name}:1")


def test_a_buildkit_in_a_container(container: str) -> None:
    works(connect(f"docker-container://{container}"))
    with pytest.raises(EngineError, match=r"No such container: nobody-\w+"):
        connect(f"docker-container://nobody-{salt()}")
