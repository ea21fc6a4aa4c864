"""State -> Definition and back; metadata; the lines of the user's files; graphs of any depth and size."""

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


def test_inputs_come_first_each_vertex_once_and_the_result_last() -> None:
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


def test_nothing_is_not_a_graph() -> None:
    with pytest.raises(SpecError, match="nothing to build"):
        llb.marshal(llb.scratch())


def test_a_graph_from_elsewhere_keeps_its_bytes() -> None:
    places = [llb.Note(name=f"line {line}", location=Location(f"/{line % 2}.py", line)) for line in range(1, 400, 99)]
    steps = [step(str(number % 3), note=note) for number, note in enumerate(places)]
    large = llb.file(None, [llb.mkfile("/a", b"x" * 70_000)], note=llb.Note(ignore_cache=True))
    definition = llb.marshal(llb.merge([*steps, large]), sources={"/0.py": b"text"})
    assert llb.Definition.from_pb(definition.to_pb()) == definition


def test_what_graphs_share_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [llb.diff(BASE, step(str(number))) for number in range(100)]
    written: list[object] = []
    for module in (llb.definition, llb.state):
        whole = module.serialize
        monkeypatch.setattr(module, "serialize", lambda message, whole=whole: written.append(message) or whole(message))
    graphs = [llb.marshal(llb.merge([*packages[:number], *packages[number:]])) for number in range(50)]
    assert all(len(graph.ops) == 202 for graph in graphs)
    assert len(written) < 50 * 6  # of each graph its merge and its end, not its 200 steps


@pytest.mark.parametrize(
    "ops", [[], [b""], [b"\xff"], [pb.Op(inputs=[pb.Input(digest="sha256:0")]).SerializeToString()]]
)
def test_a_graph_that_is_not_whole_is_refused(ops: list[bytes]) -> None:
    with pytest.raises(SpecError, match="not a graph"):
        message = pb.Definition()
        getattr(message, "def").extend(ops)
        llb.Definition.from_pb(message)


def test_notes_are_metadata() -> None:
    note = llb.Note(name="say", group=llb.Group("g", "all"), ignore_cache=True, description={"b": "2", "a": "1"})
    said = metadata(llb.marshal(step("x", note=note)), step("x"))
    assert dict(said.description) == {"llb.customname": "say", "a": "1", "b": "2"}
    assert (said.progress_group.id, said.progress_group.name, said.ignore_cache) == ("g", "all", True)
    assert said.caps["exec.meta.base"]


def test_the_same_step_made_twice_has_its_first_name_and_is_run_if_one_says_so() -> None:
    one = step("x", note=llb.Note(name="one", location=Location("/f.py", 1)))
    two = step("x", note=llb.Note(name="two", location=Location("/f.py", 2), ignore_cache=True))
    definition = llb.marshal(llb.merge([one, two]))
    assert len(definition.ops) == 3
    said = metadata(definition, one)
    assert (said.description["llb.customname"], said.ignore_cache) == ("one", True)
    assert one.digest is not None
    places = definition.to_pb().Source.locations[one.digest].locations
    assert [it.ranges[0].start.line for it in places] == [1, 2]


def test_lines_of_the_users_files() -> None:
    one = step("1", note=llb.Note(location=Location("/home/me/a.py", 3)))
    two = step("2", note=llb.Note(location=Location("/home/me/b.py", 5)), on=one)
    source = llb.marshal(two, sources={"/home/me/a.py": b"text"}).to_pb().Source
    assert [(it.filename, it.data, it.language) for it in source.infos] == [
        ("/home/me/a.py", b"text", "python"),
        ("/home/me/b.py", b"", "python"),
    ]
    assert two.digest is not None
    (place,) = source.locations[two.digest].locations
    assert (place.sourceIndex, place.ranges[0].start.line, place.ranges[0].end.line) == (1, 5, 5)


def test_what_people_are_told_may_hold_any_bytes() -> None:
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


def test_a_graph_that_no_engine_takes_is_refused_by_the_name_of_its_largest_step() -> None:
    large = llb.file(None, [llb.mkfile("/a", b"x" * (17 << 20))], note=llb.Note(name="a large file"))
    with pytest.raises(SpecError, match="in `a large file`"):
        llb.marshal(large)
