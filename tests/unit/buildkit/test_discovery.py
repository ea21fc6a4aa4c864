"""The choice of a BuildKit: the documented order, Docker's and buildx's settings, and no silent second choice."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images.buildkit.address import Command, Docker, Tcp, Tls, Unix
from flyte_images.buildkit.discovery import candidates, choose
from flyte_images.errors import EngineError, SpecError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".docker").mkdir()
    return tmp_path


def environ(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), "PATH": str(home / "bin"), **more}


def write(file: Path, value: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


def add_context(home: Path, name: str, host: str) -> Path:
    key = hashlib.sha256(name.encode()).hexdigest()
    write(home / ".docker/contexts/meta" / key / "meta.json", {"Name": name, "Endpoints": {"docker": {"Host": host}}})
    return home / ".docker/contexts/tls" / key / "docker"


def add_builder(home: Path, name: str, driver: str, node: dict[str, object]) -> None:
    write(home / ".docker/buildx/instances" / name, {"Name": name, "Driver": driver, "Nodes": [node]})


def test_the_documented_order(home: Path) -> None:
    add_context(home, "far", "tcp://far:2375")
    add_context(home, "near", "unix:///near.sock")
    add_builder(home, "remote", "remote", {"Endpoint": "tcp://remote:1234"})
    add_builder(home, "other", "remote", {"Endpoint": "tcp://other:1234"})
    write(home / ".docker/config.json", {"currentContext": "near"})
    write(home / ".docker/buildx/current", {"Name": "other"})
    said = {
        "BUILDKIT_HOST": "tcp://b:1",
        "DOCKER_HOST": "tcp://d:1",
        "DOCKER_CONTEXT": "far",
        "BUILDX_BUILDER": "remote",
    }
    found = [str(choice.address) for choice in candidates("unix:///given.sock", environ=environ(home, **said))]
    assert found[:7] == [
        "unix:///given.sock",
        "tcp://b:1",
        "docker+tcp://d:1",
        "docker+tcp://far:2375",
        "tcp://remote:1234",
        "tcp://other:1234",
        "docker+unix:///near.sock",
    ]


def test_a_setting_is_used_or_is_an_error(home: Path) -> None:
    with pytest.raises(SpecError, match=r"BUILDKIT_HOST: .*`nonsense`"):
        choose(None, environ=environ(home, BUILDKIT_HOST="nonsense"))
    with pytest.raises(EngineError, match="no Docker context `gone`"):
        choose(None, environ=environ(home, DOCKER_CONTEXT="gone"))
    with pytest.raises(EngineError, match="no builder `gone`"):
        choose("gone", environ=environ(home))


def test_docker_tls(home: Path) -> None:
    for name in ("ca", "cert", "key"):
        (home / ".docker" / f"{name}.pem").touch()
    choice = choose(None, environ=environ(home, DOCKER_HOST="tcp://h", DOCKER_TLS_VERIFY="1"))
    files = {name: str(home / ".docker" / f"{name}.pem") for name in ("ca", "cert", "key")}
    assert choice.address == Docker(Tcp("h", 2376, Tls(**files)))


def test_a_context_with_certificates(home: Path) -> None:
    certificates = add_context(home, "far", "tcp://far:2376")
    certificates.mkdir(parents=True)
    (certificates / "ca.pem").touch()
    assert choose("far", environ=environ(home)).address == Docker(Tcp("far", 2376, Tls(ca=f"{certificates}/ca.pem")))


def test_builders(home: Path) -> None:
    add_builder(home, "box", "docker-container", {"Name": "box0", "Endpoint": "default"})
    add_builder(home, "engine", "docker", {"Name": "engine", "Endpoint": "unix:///e.sock"})
    options = {"namespace": "n"}
    node = {"Name": "k0", "Endpoint": "kubernetes:///k?deployment=k0&kubeconfig=%2Fc", "DriverOpts": options}
    add_builder(home, "kube", "kubernetes", node)
    tls = {"cacert": "/c", "cert": "/d", "key": "/k", "servername": "s", "default-load": "true"}
    add_builder(home, "remote", "remote", {"Endpoint": "tcp://r:1", "DriverOpts": tls})
    add_builder(home, "odd", "cloud", {"Endpoint": "x"})
    container = choose("box", environ=environ(home)).address
    assert isinstance(container, Command)
    assert " ".join(container.argv) == "docker --context default exec -i buildx_buildkit_box0 buildctl dial-stdio"
    assert choose("engine", environ=environ(home)).address == Docker(Unix("/e.sock"))
    pod = choose("kube", environ=environ(home)).address
    assert isinstance(pod, Command)
    words = "kubectl --kubeconfig /c --namespace n exec -i deployment/k0 -- buildctl dial-stdio"
    assert " ".join(pod.argv) == words
    assert choose("remote", environ=environ(home)).address == Tcp(
        "r", 1, Tls(ca="/c", cert="/d", key="/k", server_name="s")
    )
    with pytest.raises(EngineError, match="unknown driver `cloud`"):
        choose("odd", environ=environ(home))
    with pytest.raises(EngineError, match="no builder"):
        choose("../config.json", environ=environ(home))


@pytest.fixture
def engine_socket(home: Path) -> Iterator[Path]:
    path = home / "run" / "buildkit" / "buildkitd.sock"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        yield path


def test_an_existing_socket_is_chosen(home: Path, engine_socket: Path) -> None:
    found = [choice.address for choice in candidates(None, environ=environ(home, XDG_RUNTIME_DIR=str(home / "run")))]
    assert Unix(str(engine_socket)) in found


def test_a_buildkitd_on_path_is_the_last_choice(home: Path) -> None:
    program = home / "bin" / "buildkitd"
    program.parent.mkdir()
    program.touch(mode=0o755)
    last = list(candidates(None, environ=environ(home)))[-1]
    assert last.daemon is not None
    assert last.daemon.program == str(program)
    assert last.address == Unix(f"{home}/.cache/flyte-images/run/buildkitd.sock")


def test_damaged_settings_are_named(home: Path) -> None:
    (home / ".docker" / "config.json").write_text("{")
    with pytest.raises(EngineError, match=r"config\.json"):
        list(candidates(None, environ=environ(home)))
