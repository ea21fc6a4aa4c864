"""The source from which a base is taken. A fake engine gives the answers of registries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from flyte_images.bootstrap.base_record import recorded_base
from flyte_images.bootstrap.engine_store import full_name, image_config
from flyte_images.bootstrap.select import find_base
from flyte_images.buildkit.address import Address, Unix
from flyte_images.buildkit.build_context import BuildContext
from flyte_images.buildkit.client import Client
from flyte_images.buildkit.failure import ConnectionLostError
from flyte_images.errors import EngineError, ResolveError
from flyte_images_layers import Base, DebianBase, ReferenceBase

PLATFORM = "linux/amd64"
DIGEST = "sha256:" + "a" * 64
MESSAGE = (
    "the BuildKit at unix:///x refused: failed to resolve source metadata for docker.io/library/python:3.12: "
    'failed to do request: Head "https://registry.test/v2/x": dial tcp: lookup registry.test: no such host'
)


class Engine:
    """A buildkitd without an image store, whose registries answer with `answers` or not at all."""

    address: Address = Unix("/x")

    def __init__(self, answers: dict[str, str] | None = None, *, error: EngineError | None = None) -> None:
        self.answers = answers or {}
        self.error = error or EngineError(MESSAGE)
        self.asked: list[tuple[str, str]] = []

    def resolve_image(self, ref: str, *, platform: str, timeout: float) -> tuple[str, bytes]:
        assert timeout < 15
        self.asked.append((ref, platform))
        if ref not in self.answers:
            raise self.error
        return DIGEST, self.answers[ref].encode()


class Asking:
    """Calls find_base with a separate cache."""

    def __init__(self, cache: Path) -> None:
        self.environ = {"FLYTE_IMAGES_CACHE": str(cache), "PATH": ""}
        self.notes: list[str] = []

    def __call__(self, base: Base, engine: Engine, *, platform: str = PLATFORM, refresh: bool = False) -> object:
        context = BuildContext(environ=self.environ, connect=lambda: cast(Client, engine), note=self.notes.append)
        return find_base(base, platform, context, refresh=refresh)


@pytest.fixture
def ask(tmp_path: Path) -> Asking:
    return Asking(tmp_path / "cache")


def test_a_registry_gives_the_official_image(ask: Asking) -> None:
    engine = Engine({"docker.io/library/python:3.12-slim-bookworm": '{"os": "linux"}'})
    wanted = DebianBase(python="3.12")
    ask(wanted, engine)
    found = recorded_base(wanted, PLATFORM, ask.environ)
    assert found is not None
    assert found.reference == f"docker.io/library/python:3.12-slim-bookworm@{DIGEST}"
    assert (found.origin, found.python, found.python_path) == ("registry", "3.12", "/usr/local/bin/python3.12")
    assert (found.digest, found.config, found.libc) == (DIGEST, '{"os": "linux"}', "2.36")
    assert ask.notes == ["base: python:3.12-slim-bookworm from the registry"]


def test_a_recorded_base_is_used_until_it_is_refreshed(ask: Asking) -> None:
    wanted = ReferenceBase(reference="registry.test/team/base:1")
    old = Engine({"registry.test/team/base:1": '{"a": 1}'})
    new = Engine({"registry.test/team/base:1": '{"a": 2}'})
    first = ask(wanted, old)
    assert ask(wanted, new) == first
    assert (len(old.asked), len(new.asked)) == (1, 0)
    assert ask(wanted, new, refresh=True) != first


def test_an_unavailable_version_names_the_available_ones(ask: Asking) -> None:
    with pytest.raises(ResolveError) as raised:
        ask(DebianBase(python="3.12"), Engine())
    message = str(raised.value)
    assert "python 3.12 for linux/amd64" in message
    assert "its registry: dial tcp: lookup registry.test: no such host" in message
    assert "debian bookworm has 3.11, debian trixie has 3.13" in message
    assert "from_base" in str(raised.value.hint)
    assert recorded_base(DebianBase(python="3.12"), PLATFORM, ask.environ) is None


def test_nothing_is_bootstrapped_for_another_architecture(ask: Asking) -> None:
    with pytest.raises(ResolveError, match="for linux/mips64"):
        ask(DebianBase(python="3.11"), Engine(), platform="linux/mips64")


def test_without_a_registry_the_python_of_a_debian_suite_is_bootstrapped(ask: Asking) -> None:
    """The build stops at the missing mmdebstrap."""
    with pytest.raises(EngineError, match="`mmdebstrap` is not installed"):
        ask(DebianBase(python="3.13"), Engine(error=EngineError("the BuildKit at unix:///x does not answer")))
    reason = "python:3.13-slim-bookworm is not available (it does not answer)"
    assert ask.notes == [f"base: {reason}, so debian trixie is bootstrapped"]


def test_a_lost_engine_is_an_error_not_an_answer(ask: Asking) -> None:
    """Otherwise a restart of the engine would make and record another base."""
    lost = Engine(error=ConnectionLostError("unix:///x", "it closed the connection"))
    with pytest.raises(ConnectionLostError):
        ask(DebianBase(python="3.11"), lost)
    assert ask.notes == []


def test_an_unavailable_image_is_an_error_with_the_registrys_message(ask: Asking) -> None:
    with pytest.raises(ResolveError, match=r"`team/base:1` for linux/amd64 .*: dial tcp: .*no such host") as raised:
        ask(ReferenceBase(reference="team/base:1"), Engine())
    assert "docker login" in str(raised.value.hint)


def test_the_python_of_a_named_image_is_read_from_its_configuration(ask: Asking) -> None:
    name = "docker.io/library/python:3.14"
    wanted = ReferenceBase(reference="python:3.14")
    ask(wanted, Engine({name: json.dumps({"config": {"Env": ["PATH=/x", "PYTHON_VERSION=3.14.1"]}})}))
    found = recorded_base(wanted, PLATFORM, ask.environ)
    assert found is not None
    assert (found.python, found.python_path, found.libc) == ("3.14", "", "")


def test_a_base_with_a_damaged_record_is_looked_up_again(ask: Asking) -> None:
    wanted = ReferenceBase(reference="registry.test/a:1")
    engine = Engine({"registry.test/a:1": "{}"})
    first = ask(wanted, engine)
    (record,) = (Path(ask.environ["FLYTE_IMAGES_CACHE"]) / "bases").iterdir()
    record.write_text("{")
    assert ask(wanted, engine) == first
    assert len(engine.asked) == 2


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.12", "docker.io/library/python:3.12"),
        ("team/app", "docker.io/team/app:latest"),
        ("docker.io/python", "docker.io/library/python:latest"),
        ("index.docker.io/team/app:2", "docker.io/team/app:2"),
        ("registry.test/app", "registry.test/app:latest"),
        ("localhost/app:1", "localhost/app:1"),
        ("127.0.0.1:5000/team/app:1", "127.0.0.1:5000/team/app:1"),
        ("registry.test:5000/app", "registry.test:5000/app:latest"),
        (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}"),
        (f"app:1@{DIGEST}", f"docker.io/library/app:1@{DIGEST}"),
    ],
)
def test_a_reference_is_completed_as_docker_does(reference: str, expected: str) -> None:
    assert full_name(reference) == expected


def blobs(platforms: list[dict[str, str]]) -> dict[str, bytes]:
    """An index of one image per platform, as the blobs of a store."""
    found: dict[str, bytes] = {}
    entries = []
    for number, platform in enumerate(platforms):
        found[f"config{number}"] = json.dumps({**platform, "config": {"Cmd": [str(number)]}}).encode()
        found[f"manifest{number}"] = json.dumps({"config": {"digest": f"config{number}"}}).encode()
        entries.append({"digest": f"manifest{number}", "platform": platform})
    attestation = {"digest": "gone", "platform": {"os": "unknown", "architecture": "unknown"}}
    found["index"] = json.dumps({"manifests": [attestation, *entries]}).encode()
    return found


@pytest.mark.parametrize(("platform", "expected"), [("linux/amd64", "0"), ("linux/arm64", "1"), ("linux/s390x", None)])
def test_an_index_gives_the_configuration_of_the_platform(platform: str, expected: str | None) -> None:
    store = blobs([{"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64", "variant": "v8"}])
    config = image_config(store.__getitem__, "index", platform)
    assert (json.loads(config)["config"]["Cmd"] if config else None) == ([expected] if expected else None)


def test_an_image_for_another_platform_is_not_used() -> None:
    store = blobs([{"os": "linux", "architecture": "amd64"}])
    assert image_config(store.__getitem__, "manifest0", "linux/amd64") is not None
    assert image_config(store.__getitem__, "manifest0", "linux/arm64") is None
