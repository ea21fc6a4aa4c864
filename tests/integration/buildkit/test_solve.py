"""A graph is built, reports events, can be canceled, and its failures are explained."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from flyte_images.buildkit.client import Client, connect
from flyte_images.buildkit.events import Event, Vertex, VertexLog
from flyte_images.buildkit.failure import StepError
from flyte_images.errors import BuildError, Location

from .conftest import Base
from .graphs import Graph, salt, secret

pytestmark = pytest.mark.engine


def test_a_step_on_a_base_of_the_session_runs_once(client: Client, base: Base) -> None:
    graph = Graph()
    head = graph.run(graph.layout(base.digest), f"echo hello {salt()}", name="say hello")
    first: list[Event] = []
    client.solve(graph.definition(head), session=base.session, on_event=first.append)
    assert b"hello" in b"".join(it.data for it in first if isinstance(it, VertexLog) and it.vertex == head)
    again: list[Event] = []
    client.solve(graph.definition(head), session=base.session, on_event=again.append)
    last = {it.digest: it for it in again if isinstance(it, Vertex)}
    assert last[head].cached
    assert last[head].name == "say hello"


def test_the_engine_keeps_a_base_and_does_not_ask_again(client: Client, base: Base) -> None:
    graph = Graph()
    head = graph.run(graph.layout(base.digest), f"echo {salt()} > /made")
    client.solve(graph.definition(head), session=base.session)
    assert client.solve(graph.definition(head)) is not None  # no store is offered this time


def test_a_failing_command_names_itself_its_log_and_the_line(client: Client, base: Base) -> None:
    graph = Graph()
    script = f"echo first; echo second >&2; exit 7 # {salt()}"
    head = graph.run(graph.layout(base.digest), script, name="break it")
    graph.locations[head] = ("/home/me/image.py", 12)
    with pytest.raises(StepError) as caught:
        client.solve(graph.definition(head), session=base.session)
    error = caught.value
    assert str(error) == "break it: the command failed with exit status 7"
    assert error.vertex == head
    assert error.exit_status == 7
    assert error.location == Location("/home/me/image.py", 12)
    assert error.command is not None
    assert error.command.startswith("/bin/sh -ec ")
    assert sorted(error.log.splitlines()) == ["first", "second"]  # two streams: their order is not kept


def test_an_exception_of_the_listener_cancels_the_build_and_is_raised(client: Client, base: Base) -> None:
    graph = Graph()
    head = graph.run(graph.layout(base.digest), f"echo go; sleep 600 # {salt()}")

    def listener(event: Event) -> None:
        if isinstance(event, VertexLog):
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        client.solve(graph.definition(head), session=base.session, on_event=listener)


def test_a_deadline_has_its_own_error(client: Client, base: Base) -> None:
    graph = Graph()
    head = graph.run(graph.layout(base.digest), f"sleep 600 # {salt()}")
    with pytest.raises(BuildError, match="did not end within 1 s"):
        client.solve(graph.definition(head), session=base.session, timeout=1)


def test_a_step_may_be_silent_for_longer_than_the_patience_with_the_engine(base: Base) -> None:
    graph = Graph()
    head = graph.run(graph.layout(base.digest), f"sleep 8; echo awake {salt()}")
    events: list[Event] = []
    with connect(patience=1) as client:
        client.solve(graph.definition(head), session=base.session, on_event=events.append)
    assert any(isinstance(it, VertexLog) and it.data.startswith(b"awake") for it in events)


def test_many_builds_at_once_on_one_connection(client: Client, base: Base) -> None:
    shared = salt()

    def build(number: int) -> str:
        graph = Graph()
        below = graph.run(graph.layout(base.digest), f"echo shared {shared}")
        head = graph.run(below, f"cat /run/secrets/own; echo {salt()}", secret("own"))
        events: list[Event] = []
        session = replace(base.session, secrets={"own": f"number {number}\n".encode()})
        client.solve(graph.definition(head), session=session, on_event=events.append)
        return b"".join(it.data for it in events if isinstance(it, VertexLog) and it.vertex == head).decode()

    with ThreadPoolExecutor(16) as pool:
        said = list(pool.map(build, range(32)))
    assert [text.splitlines()[0] for text in said] == [f"number {number}" for number in range(32)]


def test_a_graph_that_is_too_large_is_refused(client: Client) -> None:
    graph = Graph()
    head = graph.file("/large", bytes(17 << 20))
    with pytest.raises(BuildError, match="larger than max") as caught:
        client.solve(graph.definition(head))
    assert caught.value.hint


def test_a_missing_base_is_an_error_that_names_it(client: Client) -> None:
    graph = Graph()
    head = graph.layout("sha256:" + "0" * 64)
    with pytest.raises(BuildError, match="000000"):
        client.solve(graph.definition(head))
