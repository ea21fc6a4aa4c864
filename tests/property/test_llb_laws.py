"""Laws of graphs: a digest depends on everything that decides the result and on nothing else."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from flyte_images import llb
from flyte_images.errors import Location

LINUX = llb.Platform.parse("linux/amd64")
Build = Callable[[llb.Note | None], llb.State]
"""Returns a new equal state at each call, with the given note on all of its steps."""

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
names = words.filter(lambda word: word and "=" not in word)
paths = st.sampled_from(["/a", "/b", "/c/d", "/e"])


def image(name: str) -> Build:
    return lambda note: llb.image(f"registry.test/{name}:1", platform=LINUX, note=note)


leaves = st.sampled_from("abc").map(image)


def grow(below: st.SearchStrategy[Build]) -> st.SearchStrategy[Build]:
    def run(root: Build, args: list[str], env: dict[str, str], mounts: dict[str, Build]) -> Build:
        return lambda note: (
            llb.run(
                root(note),
                ["run", *args],
                platform=LINUX,
                env=env,
                mounts=[llb.bind(path, state(note)) for path, state in mounts.items()],
                note=note,
            ).root
        )

    def files(base: Build, source: Build, path: str, data: bytes) -> Build:
        return lambda note: llb.file(
            base(note), [llb.mkfile(path, data), llb.copy(source(note), path, "/to")], note=note
        )

    return st.one_of(
        st.builds(
            run, below, st.lists(words, max_size=3), st.dictionaries(names, words), st.dictionaries(paths, below)
        ),
        st.builds(files, below, below, paths, st.binary(max_size=8)),
        st.lists(below, min_size=2, max_size=3).map(
            lambda parts: lambda note: llb.merge([part(note) for part in parts], note=note)
        ),
        st.tuples(below, below).map(lambda two: lambda note: llb.diff(two[0](note), two[1](note), note=note)),
    )


graphs = st.recursive(leaves, grow, max_leaves=8)
notes = st.builds(
    llb.Note,
    name=words,
    group=st.none() | st.builds(llb.Group, words, words),
    location=st.none() | st.builds(Location, words, st.integers(1, 1000)),
    ignore_cache=st.booleans(),
    description=st.dictionaries(names, words, max_size=2),
)


@given(graphs)
def test_equal_states_have_equal_bytes(build: Build) -> None:
    assert llb.marshal(build(None)) == llb.marshal(build(None))


@given(graphs)
def test_marshalling_changes_nothing(build: Build) -> None:
    state = build(None)
    before = state.digest
    assert llb.marshal(state) == llb.marshal(state)
    assert state.digest == before


@given(graphs, notes)
def test_decoration_never_changes_a_digest(build: Build, note: llb.Note) -> None:
    plain, noted = llb.marshal(build(None)), llb.marshal(build(note))
    assert (plain.digests, plain.ops, plain.head) == (noted.digests, noted.ops, noted.head)


@given(graphs, graphs)
def test_appending_keeps_every_earlier_vertex(build: Build, other: Build) -> None:
    before = llb.marshal(build(None))
    after = llb.marshal(llb.merge([llb.run(build(None), ["more"], platform=LINUX).root, other(None)]))
    assert after.digests[: len(before.digests)] == before.digests


@given(graphs, notes)
def test_the_bytes_are_those_of_the_protobuf_library(build: Build, note: llb.Note) -> None:
    definition = llb.marshal(build(note))
    assert definition.to_pb().SerializeToString(deterministic=True) == definition.data


@given(graphs)
def test_inputs_come_before_their_readers(build: Build) -> None:
    seen: set[str] = set()
    definition = llb.marshal(build(None))
    from flyte_images.llb.pb import ops_pb2

    for digest, data in zip(definition.digests, definition.ops, strict=True):
        assert {item.digest for item in ops_pb2.Op.FromString(data).inputs} <= seen
        assert digest not in seen
        seen.add(digest)


@given(st.dictionaries(names, words), st.data())
def test_the_order_of_variables_and_mounts_does_not_matter(env: dict[str, str], data: st.DataObject) -> None:
    base = image("a")(None)
    mounts = [llb.bind("/a", base), llb.tmpfs("/b"), llb.output("/c"), llb.secret("/d", id="x")]
    shuffled = dict(data.draw(st.permutations(list(env.items()))))
    one = llb.run(base, ["x"], platform=LINUX, env=env, mounts=mounts)
    two = llb.run(base, ["x"], platform=LINUX, env=shuffled, mounts=data.draw(st.permutations(mounts)))
    assert (one.root, one.output("/c")) == (two.root, two.output("/c"))


commands = st.tuples(
    st.lists(words, min_size=1, max_size=3),
    st.dictionaries(names, words, max_size=2),
    st.sampled_from(["/", "/a"]),
    st.sampled_from(llb.Network),
    st.sets(st.sampled_from(["/x", "/y"])),
)


@given(commands, commands)
def test_different_commands_have_different_digests(one: tuple[object, ...], two: tuple[object, ...]) -> None:
    def digest(args: list[str], env: dict[str, str], cwd: str, network: llb.Network, dests: set[str]) -> str | None:
        mounts = [llb.tmpfs(dest) for dest in dests]
        return llb.run(None, args, platform=LINUX, env=env, cwd=cwd, network=network, mounts=mounts).root.digest

    assert (digest(*one) == digest(*two)) == (one == two)  # type: ignore[arg-type]
