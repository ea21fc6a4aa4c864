"""State -> Definition; metadata; the lines of the user's files; graphs of any depth and size."""

from __future__ import annotations

import hashlib

import pytest

from flyte_images import llb
from flyte_images.errors import Location, SpecError
from flyte_images.llb.pb import ops_pb2 as pb

LINUX = llb.Platform.parse("linux/amd64")
BASE = llb.image("registry.test/debian:13", platform=LINUX)


def step(word: str, *, on: llb.State = BASE, note: llb.Note | None = None) -> llb.State:
    return llb.run(on, ["echo", word], platform=LINUX, note=note).root


def metadata(definition: llb.Definition, state: llb.State) -> pb.OpMetadata:
    assert state.digest is not None
    return definition.to_pb().metadata[state.digest]


def test_inputs_come_first_each_vertex_appears_once_and_the_result_is_last() -> None:
    one, two = step("1"), step("2")
    head = llb.merge([one, two, one])
    definition = llb.marshal(head)
    assert definition.digests == (BASE.digest, one.digest, two.digest, head.digest)
    assert definition.digests == tuple("sha256:" + hashlib.sha256(op).hexdigest() for op in definition.ops)
    last = pb.Op.FromString(getattr(definition.to_pb(), "def")[-1])
    assert last == pb.Op(inputs=[pb.Input(digest=definition.head, index=0)])
    assert definition.head == head.digest


def test_the_result_may_be_a_later_output() -> None:
    out = llb.run(BASE, ["make"], platform=LINUX, mounts=[llb.output("/out")]).output("/out")
    assert llb.marshal(out).index == 1


def test_an_empty_state_is_not_a_graph() -> None:
    with pytest.raises(SpecError, match="nothing to build"):
        llb.marshal(llb.scratch())


def test_the_bytes_are_those_of_the_protobuf_library() -> None:
    notes = [llb.Note(name=f"line {line}", location=Location(f"/{line % 2}.py", line)) for line in range(1, 400, 99)]
    steps = [step(str(number % 3), note=note) for number, note in enumerate(notes)]
    large = llb.file(None, [llb.mkfile("/a", b"x" * 70_000)], note=llb.Note(ignore_cache=True))
    definition = llb.marshal(llb.merge([*steps, large]), sources={"/0.py": b"text"})
    assert definition.to_pb().SerializeToString(deterministic=True) == definition.data


def test_a_vertex_of_many_graphs_is_serialized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [llb.diff(BASE, step(str(number))) for number in range(100)]
    serialized: list[object] = []
    for module in (llb.definition, llb.state):
        real = module.serialize
        monkeypatch.setattr(module, "serialize", lambda message, real=real: serialized.append(message) or real(message))
    graphs = [llb.marshal(llb.merge([*packages[:number], *packages[number:]])) for number in range(50)]
    assert all(len(graph.ops) == 202 for graph in graphs)
    assert len(serialized) < 50 * 6  # the merge and the end of each graph, not its 200 steps


def test_notes_are_metadata() -> None:
    note = llb.Note(name="say", group=llb.Group("g", "all"), ignore_cache=True, description={"b": "2", "a": "1"})
    message = metadata(llb.marshal(step("x", note=note)), step("x"))
    assert dict(message.description) == {"llb.customname": "say", "a": "1", "b": "2"}
    assert (message.progress_group.id, message.progress_group.name, message.ignore_cache) == ("g", "all", True)
    assert message.caps["exec.meta.base"]


def test_equal_steps_have_the_first_name_and_run_again_if_one_ignores_the_cache() -> None:
    one = step("x", note=llb.Note(name="one", location=Location("/f.py", 1)))
    two = step("x", note=llb.Note(name="two", location=Location("/f.py", 2), ignore_cache=True))
    definition = llb.marshal(llb.merge([one, two]))
    assert len(definition.ops) == 3
    message = metadata(definition, one)
    assert (message.description["llb.customname"], message.ignore_cache) == ("one", True)
    assert one.digest is not None
    lines = definition.to_pb().Source.locations[one.digest].locations
    assert [it.ranges[0].start.line for it in lines] == [1, 2]


def test_lines_of_the_users_files() -> None:
    one = step("1", note=llb.Note(location=Location("/home/me/a.py", 3)))
    two = step("2", note=llb.Note(location=Location("/home/me/b.py", 5)), on=one)
    source = llb.marshal(two, sources={"/home/me/a.py": b"text"}).to_pb().Source
    assert [(it.filename, it.data, it.language) for it in source.infos] == [
        ("/home/me/a.py", b"text", "python"),
        ("/home/me/b.py", b"", "python"),
    ]
    assert two.digest is not None
    (line,) = source.locations[two.digest].locations
    assert (line.sourceIndex, line.ranges[0].start.line, line.ranges[0].end.line) == (1, 5, 5)


def test_names_for_people_may_contain_any_bytes() -> None:
    odd = "caf\udce9"
    note = llb.Note(name=odd, group=llb.Group(odd, odd), location=Location(odd, 1), description={"a": odd})
    definition = llb.marshal(step("x", note=note))
    assert metadata(definition, step("x")).description["llb.customname"] == "caf\\udce9"
    assert definition.to_pb().Source.infos[0].filename == "caf\\udce9"


def test_a_note_cannot_be_changed_from_outside() -> None:
    description = {"a": "1"}
    note = llb.Note(description=description)
    description["a"] = "2"
    assert note.description["a"] == "1"


def test_a_chain_of_thousands_is_walked_without_recursion() -> None:
    state = BASE
    for number in range(5000):
        state = step(str(number), on=state)
    assert len(llb.marshal(state).ops) == 5001
    assert repr(state).startswith("State(Vertex(sha256:")


def test_a_wide_graph_is_one_merge() -> None:
    definition = llb.marshal(llb.merge([llb.diff(BASE, step(str(number))) for number in range(1000)]))
    assert len(definition.ops) == 2002


def test_the_error_of_a_graph_that_is_too_large_names_its_largest_step() -> None:
    large = llb.file(None, [llb.mkfile("/a", b"x" * (17 << 20))], note=llb.Note(name="a large file"))
    with pytest.raises(SpecError, match="in `a large file`"):
        llb.marshal(large)
