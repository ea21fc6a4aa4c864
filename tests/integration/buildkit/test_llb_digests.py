"""The engine gives each step the digest that this client gives it, and each operation has its documented effect."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from flyte_images import llb
from flyte_images.buildkit.client import Client
from flyte_images.buildkit.events import Event, Vertex
from flyte_images.buildkit.exporters import Files
from flyte_images.buildkit.failure import StepError
from flyte_images.buildkit.session import Session
from flyte_images.errors import Location

from .conftest import Base
from .graphs import salt

pytestmark = pytest.mark.engine

LINUX = llb.Platform.parse("linux/amd64")
EPOCH = 1_700_000_000 * 10**9


def busybox(base: Base) -> llb.State:
    return llb.oci_layout(f"flyte/base@{base.digest}", store="base", platform=LINUX)


def solve(client: Client, state: llb.State, session: Session, out: Path) -> tuple[llb.Definition, dict[str, Vertex]]:
    """Build `state`, unpack the result into `out`, and return the graph and the last event of each step."""
    definition = llb.marshal(state)
    events: list[Event] = []
    tar = out.with_suffix(".tar")
    client.solve(definition.data, session=session, exporters=[Files(dest=tar, tar=True)], on_event=events.append)
    with tarfile.open(tar) as archive:
        archive.extractall(out, filter="tar")
    return definition, {event.digest: event for event in events if isinstance(event, Vertex)}


def test_every_operation_has_the_digest_that_the_engine_gives_it(client: Client, base: Base, tmp_path: Path) -> None:
    below = busybox(base)
    files = llb.file(
        None,
        [llb.mkdir("/app/deep", make_parents=True), llb.mkfile("/app/a", salt().encode(), mode=0o600)],
        timestamp=EPOCH,
    )
    copied = llb.file(below, [llb.mkdir("/x"), llb.copy(files, "/app", "/new/place")])
    built = llb.run(
        copied,
        ["/bin/sh", "-ec", "echo $WORD $HIDDEN > /made; cat /in/a > /out/got; cat /run/secret >> /out/got"],
        platform=LINUX,
        env={"WORD": "word", "PATH": "/bin"},
        network=llb.Network.UNSET,
        mounts=[
            llb.bind("/in", files, selector="/app"),
            llb.output("/out"),
            llb.tmpfs("/tmp"),
            llb.secret("/run/secret", id="file"),
        ],
        secret_env=[llb.SecretEnv("HIDDEN", "variable"), llb.SecretEnv("ABSENT", "absent", optional=True)],
    )
    change = llb.diff(copied, built.root)
    final = llb.merge([files, change, llb.file(None, [llb.copy(built.output("/out"), "/got", "/got")])])
    session = Session(stores={"base": base.directory}, secrets={"file": b"in file", "variable": b"in variable"})
    definition, seen = solve(client, final, session, tmp_path / "out")

    assert set(definition.digests) <= set(seen)
    out = tmp_path / "out"
    assert (out / "made").read_text() == "word in variable\n"
    assert (out / "got").read_bytes() == (out / "app/a").read_bytes() + b"in file"
    assert (out / "app/a").stat().st_mode & 0o777 == 0o600
    assert (out / "app/a").stat().st_mtime_ns == EPOCH
    assert not (out / "bin").exists()  # a diff contains only what changed


def test_files_without_a_timestamp_are_not_of_1970(client: Client, base: Base, tmp_path: Path) -> None:
    source = llb.file(None, [llb.mkdir("/a"), llb.mkfile("/a/f", salt().encode())])
    solve(client, llb.file(None, [llb.copy(source, "/a", "/b")]), Session(), tmp_path / "out")
    for name in ("b", "b/f"):
        assert (tmp_path / "out" / name).stat().st_mtime > 1_700_000_000
    assert (tmp_path / "out/b/f").stat().st_mode & 0o777 == 0o644


def test_a_read_only_root_and_a_graph_of_many_layers(client: Client, base: Base, tmp_path: Path) -> None:
    below = busybox(base)
    word = salt()
    parts = [
        llb.run(
            below,
            ["/bin/sh", "-ec", f"echo {word} > /out/{number}"],
            platform=LINUX,
            mounts=[llb.output("/out")],
            readonly_root=True,
            note=llb.Note(name=f"part {number}", group=llb.Group("parts", "all parts")),
        ).output("/out")
        for number in range(8)
    ]
    definition, seen = solve(client, llb.merge(parts), base.session, tmp_path / "out")
    assert set(definition.digests) <= set(seen)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [str(number) for number in range(8)]
    names = {vertex.name for vertex in seen.values() if vertex.group_id == "parts"}
    assert names == {f"part {number}" for number in range(8)}


def test_the_error_of_a_step_names_the_step_and_the_users_line(client: Client, base: Base) -> None:
    note = llb.Note(name="break it", location=Location("/home/me/image.py", 12))
    failing = llb.run(busybox(base), ["/bin/sh", "-c", f"exit 9 # {salt()}"], platform=LINUX, note=note).root
    definition = llb.marshal(failing, sources={"/home/me/image.py": b"\n" * 20})
    with pytest.raises(StepError) as caught:
        client.solve(definition.data, session=base.session)
    assert caught.value.vertex == failing.digest
    assert caught.value.location == Location("/home/me/image.py", 12)


def test_decoration_does_not_run_a_step_again(client: Client, base: Base, tmp_path: Path) -> None:
    def step(note: llb.Note, word: str) -> llb.State:
        return llb.run(busybox(base), ["/bin/sh", "-c", f"echo {word} > /f"], platform=LINUX, note=note).root

    word = salt()
    solve(client, step(llb.Note(name="one"), word), base.session, tmp_path / "one")
    again = step(llb.Note(name="two", description={"json": json.dumps([1])}), word)
    _, seen = solve(client, again, base.session, tmp_path / "two")
    assert again.digest is not None
    assert seen[again.digest].cached
    assert seen[again.digest].name == "two"
