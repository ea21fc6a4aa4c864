"""Packed local files arrive in an image unchanged, and an engine that has the files asks for nothing."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from flyte_images import llb
from flyte_images.buildkit.client import Client
from flyte_images.buildkit.events import Event, Vertex
from flyte_images.buildkit.exporters import Files
from flyte_images.buildkit.session import Session
from flyte_images.context import PLATFORM, Packed, Source, file_index, pack
from flyte_images.errors import BuildError
from flyte_images_layers.steps import EPOCH

from ...fakes.clock import next_tick
from .conftest import Base
from .graphs import salt

pytestmark = pytest.mark.engine

LINUX = llb.Platform.parse("linux/amd64")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(tmp_path / "cache"))


def state(packed: Packed) -> llb.State:
    return llb.oci_layout(packed.name, store="context", platform=llb.Platform.parse(PLATFORM))


def test_odd_names_links_and_modes_come_through_a_merge(client: Client, base: Base, tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    odd = [b"caf\xe9", b"line\nbreak", "snow \N{SNOWMAN}".encode(), b"n" * 250, b"\\x"]
    for name in odd:
        (root / os.fsdecode(name)).write_bytes(name)
    (root / "deep").mkdir()
    (root / "deep" / "link").symlink_to("../caf")
    (root / "run").write_text(f"#!/bin/sh\necho {salt()}\n")
    (root / "run").chmod(0o700)
    packed = pack([Source(root, "/tmp/app")], tmp_path / "layout")
    busybox = llb.oci_layout(f"flyte/base@{base.digest}", store="base", platform=LINUX)
    merged = llb.merge([busybox, state(packed)])
    listed = llb.run(
        merged,
        ["/bin/sh", "-ec", "/tmp/app/run; cd /tmp/app; ls -A | wc -l > /out/count; stat -c %a /tmp > /out/mode"],
        platform=LINUX,
        env={"PATH": "/bin"},
        mounts=[llb.output("/out")],
    ).output("/out")
    stores = {"base": base.directory, "context": tmp_path / "layout"}
    tar = tmp_path / "out.tar"
    both = llb.merge([listed, state(packed)])
    client.solve(llb.marshal(both).data, session=Session(stores=stores), exporters=[Files(dest=tar, tar=True)])
    with tarfile.open(tar, errors="surrogateescape") as found:
        count, mode = found.extractfile("count"), found.extractfile("mode")
        assert count is not None
        assert mode is not None
        assert (count.read().strip(), mode.read().strip()) == (b"7", b"1777")
        assert found.getmember("tmp/app/deep/link").linkname == "../caf"
        assert found.getmember("tmp/app/run").mode & 0o777 == 0o755
        for name in odd:
            member = found.getmember("tmp/app/" + os.fsdecode(name))
            content = found.extractfile(member)
            assert content is not None
            assert content.read() == name
            assert (member.mode & 0o777, member.uid, int(member.mtime)) == (0o644, 0, EPOCH)


def test_an_unchanged_folder_is_cached_and_not_sent_again(client: Client, tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (root / "a").write_text(salt())
    for turn in ("first", "again"):
        packed = pack([Source(root, "/app")], tmp_path / turn)
        copied = llb.file(None, [llb.copy(state(packed), "/app", "/x")])
        seen: list[Event] = []
        # the second time there is no store: an engine that asked for a blob would fail
        session = Session(stores={"context": tmp_path / turn}) if turn == "first" else None
        client.solve(llb.marshal(copied).data, session=session, on_event=seen.append)
        last = {event.digest: event for event in seen if isinstance(event, Vertex)}
        assert copied.digest is not None
        assert last[copied.digest].cached is (turn == "again")


def test_a_blob_that_was_damaged_by_hand_fails_one_build_and_no_more(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_index, "RACY", 0)
    root, layout = tmp_path / "project", tmp_path / "layout"
    root.mkdir()
    (root / "a").write_text(salt() * 100_000)

    def build() -> bytes:
        packed = pack([Source(root, "/app")], layout)
        copied = llb.file(None, [llb.copy(state(packed), "/app/a", "/a")])
        session = Session(stores={"context": layout})
        client.solve(llb.marshal(copied).data, session=session, exporters=[Files(dest=tmp_path / "out")])
        return (tmp_path / "out" / "a").read_bytes()

    next_tick()  # a file that was written just now would be read again
    packed = pack([Source(root, "/app")], layout)
    blob = layout / "blobs" / "sha256" / packed.layer.digest.removeprefix("sha256:")
    with blob.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"?")
    with pytest.raises(BuildError, match=f"the file `{blob}` is damaged") as caught:
        build()
    assert "build again" in (caught.value.hint or "")
    assert build() == (root / "a").read_bytes()
