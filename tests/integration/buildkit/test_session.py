"""Requests of the engine to this process: secrets and logins."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_images.buildkit.client import Client, connect
from flyte_images.buildkit.events import Event, VertexLog
from flyte_images.buildkit.exporters import Image
from flyte_images.buildkit.registry_auth import DockerLogins
from flyte_images.buildkit.session import Session
from flyte_images.errors import BuildError, EngineError

from ...fakes.registry import Registry, serve
from .conftest import Base
from .graphs import Graph, salt, secret

pytestmark = pytest.mark.engine


def output(events: list[Event]) -> str:
    return b"".join(it.data for it in events if isinstance(it, VertexLog)).decode()


def test_a_step_sees_its_secret_and_stays_cached_with_another_value(client: Client, base: Base) -> None:
    graph = Graph()
    script = f"wc -c < /run/secrets/token; echo {salt()}"
    definition = graph.definition(graph.run(graph.layout(base.digest), script, secret("token")))
    events: list[Event] = []
    client.solve(definition, session=replace(base.session, secrets={"token": b"four"}), on_event=events.append)
    assert output(events).split()[0] == "4"
    again: list[Event] = []
    client.solve(definition, session=replace(base.session, secrets={"token": lambda: b"other"}), on_event=again.append)
    assert output(again) == ""


def test_a_missing_secret_fails_the_step_unless_the_secret_is_optional(client: Client, base: Base) -> None:
    graph = Graph()
    needed = graph.run(graph.layout(base.digest), f"true {salt()}", secret("missing"))
    with pytest.raises(BuildError, match="missing"):
        client.solve(graph.definition(needed), session=base.session)
    wanted = graph.run(graph.layout(base.digest), f"test ! -e /run/secrets/m # {salt()}", secret("m", optional=True))
    client.solve(graph.definition(wanted), session=base.session)


def test_a_secret_that_cannot_be_read_fails_the_step_with_the_reason(client: Client, base: Base) -> None:
    def broken() -> bytes:
        raise OSError("the vault is sealed")

    graph = Graph()
    head = graph.run(graph.layout(base.digest), f"true {salt()}", secret("token"))
    with pytest.raises(BuildError, match="the vault is sealed"):
        client.solve(graph.definition(head), session=replace(base.session, secrets={"token": broken}))


def docker_config(path: Path, registry: Registry, entry: dict[str, str]) -> DockerLogins:
    path.write_text(json.dumps({"auths": {registry.address: entry}}))
    return DockerLogins(path)


@pytest.mark.parametrize("auth", ["", "basic", "bearer"])
def test_a_push_logs_in_as_docker_would(client: Client, base: Base, tmp_path: Path, auth: str) -> None:
    with serve(Registry(auth=auth)) as registry:
        coded = base64.b64encode(":".join(registry.login).encode()).decode()
        logins = docker_config(tmp_path / "config.json", registry, {"auth": coded})
        graph = Graph()
        head = graph.file("/greeting", salt().encode())
        names = (f"{registry.address}/team/app:1", f"{registry.address}/team/app:2")
        done = client.solve(
            graph.definition(head),
            session=Session(logins=logins),
            exporters=[Image(names=names, push=True, store=False)],
        )
        digest = done.exporter_response["containerimage.digest"]
        assert {"team/app:1", "team/app:2", f"team/app:{digest}"} <= registry.manifests.keys()
        assert client.resolve_image(names[0], session=Session(logins=logins))[0] == digest


def test_a_push_with_an_identity_token(client: Client, base: Base, tmp_path: Path) -> None:
    with serve(Registry(auth="bearer")) as registry:
        logins = docker_config(tmp_path / "config.json", registry, {"identitytoken": registry.login[1]})
        graph = Graph()
        head = graph.file("/greeting", salt().encode())
        image = Image(names=(f"{registry.address}/team/app:1",), push=True, store=False)
        client.solve(graph.definition(head), session=Session(logins=logins), exporters=[image])
        assert "team/app:1" in registry.manifests


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_refused_push_is_an_error_and_works_when_it_is_allowed(client: Client, base: Base, status: int) -> None:
    with serve(Registry(fault=lambda method, path: status if method != "HEAD" else None)) as registry:
        graph = Graph()
        definition = graph.definition(graph.file("/greeting", salt().encode()))
        image = Image(names=(f"{registry.address}/team/app:1",), push=True, store=False)
        with pytest.raises(BuildError, match=rf"{registry.address}.*") as caught:
            client.solve(definition, exporters=[image])
        assert caught.value.hint
        registry.fault = lambda method, path: None
        client.solve(definition, exporters=[image])
        assert "team/app:1" in registry.manifests


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_refused_pull_is_an_error_and_works_when_it_is_allowed(client: Client, status: int) -> None:
    with serve(Registry()) as registry:
        name, graph = f"{registry.address}/team/app:1", Graph()
        image = Image(names=(name,), push=True, store=False)
        client.solve(graph.definition(graph.file("/greeting", salt().encode())), exporters=[image])
        pulled = Graph()
        definition = pulled.definition(pulled.image(name))
        registry.fault = lambda method, path: status
        for ask in (lambda: client.solve(definition), lambda: client.resolve_image(name)):
            with pytest.raises((BuildError, EngineError), match=registry.address) as caught:
                ask()
            assert caught.value.hint
        registry.fault = lambda method, path: None
        client.solve(definition)
        assert client.resolve_image(name)[0].startswith("sha256:")


@pytest.mark.parametrize("what", ["push", "base", "file"])
def test_a_server_that_hangs_is_named_and_works_when_it_answers(client: Client, what: str) -> None:
    with serve(Registry()) as registry, connect(patience=0.5, stall=2) as impatient:
        name = f"{registry.address}/team/app:1"
        image = Image(names=(name,), push=True, store=False)
        graph = Graph()
        client.solve(graph.definition(graph.file("/greeting", salt().encode())), exporters=[image])
        data = salt().encode()
        registry.blobs[digest := f"sha256:{hashlib.sha256(data).hexdigest()}"] = data
        head = {
            "push": lambda: graph.file("/greeting", salt().encode()),
            "base": lambda: graph.image(name),
            "file": lambda: graph.http(f"http://{registry.address}/v2/any/blobs/{digest}", digest),
        }[what]()
        definition, exporters = graph.definition(head), [image] if what == "push" else []
        registry.fault = lambda method, path: 0
        with pytest.raises(BuildError, match=f"no progress for 2 s: .*{registry.address}") as caught:
            impatient.solve(definition, exporters=exporters)
        assert caught.value.hint
        registry.fault = lambda method, path: None
        registry.hanging.set()
        # The engine may ask the session of the build that is gone first, for which it waits five seconds.
        client.solve(definition, exporters=exporters)


def test_a_command_may_be_silent_for_longer_than_a_server(base: Base) -> None:
    graph = Graph()
    head = graph.run(graph.layout(base.digest), f"sleep 4; echo {salt()}")
    with connect(patience=0.5, stall=1) as client:
        client.solve(graph.definition(head), session=base.session)


def test_a_registry_that_hangs_when_it_is_asked_for_a_digest(client: Client) -> None:
    with serve(Registry(fault=lambda method, path: 0)) as registry:
        with pytest.raises(EngineError, match="does not answer"):
            client.resolve_image(f"{registry.address}/team/app:1", timeout=1)
        assert client.info()
