"""Local files -> digest and layer; the bytes are read back with the standard library's tar."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_images.context import Packed, Source, content_digests, digest, file_index, layer, pack, settled, tree
from flyte_images.errors import Location, SpecError
from flyte_images_layers.source import SourceFile, SourceFolder
from flyte_images_layers.steps import EPOCH
from tests.fakes.clock import next_tick

Build = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "context"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "pkg").mkdir(parents=True)
    (root / "main.py").write_text("print(1)\n")
    (root / "pkg" / "run.sh").write_text("#!/bin/sh\n")
    (root / "pkg" / "run.sh").chmod(0o700)
    (root / "empty").mkdir()
    (root / "link").symlink_to("pkg/run.sh")
    return root


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return tmp_path / "layout"


def members(layout: Path, packed: Packed) -> list[tarfile.TarInfo]:
    with tarfile.open(blob(layout, packed.layer.digest), errors="surrogateescape") as tar:
        return tar.getmembers()


def names(layout: Path, packed: Packed) -> list[str]:
    return [member.name for member in members(layout, packed)]


def blob(layout: Path, name: str) -> Path:
    return layout / "blobs" / "sha256" / name.removeprefix("sha256:")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that were opened for reading, with a short tick of the clock."""
    monkeypatch.setattr(file_index, "RACY", 0)
    monkeypatch.setattr(settled, "_BUDGET", 60_000_000_000)  # the disk may be busy
    monkeypatch.setattr(settled, "_IN_MEMORY", frozenset())  # where the tests' files are, all of them stay
    opened: list[bytes] = []
    real = tree.read

    def read(found: tree.Tree, entry: tree.Entry, *args: object, **options: object) -> None:
        opened.append(entry.path)
        real(found, entry, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tree, "read", read)
    monkeypatch.setattr(layer, "read", read)
    return opened


# --- the layer


def test_a_layer_holds_the_folder_and_its_parents(project: Path, layout: Path) -> None:
    packed = pack([Source(project, "/srv/app")], layout)
    seen = [(it.name, it.type, f"{it.mode:o}", it.linkname) for it in members(layout, packed)]
    assert seen == [
        ("srv", tarfile.DIRTYPE, "755", ""),
        ("srv/app", tarfile.DIRTYPE, "755", ""),
        ("srv/app/empty", tarfile.DIRTYPE, "755", ""),
        ("srv/app/link", tarfile.SYMTYPE, "777", "pkg/run.sh"),
        ("srv/app/main.py", tarfile.REGTYPE, "644", ""),
        ("srv/app/pkg", tarfile.DIRTYPE, "755", ""),
        ("srv/app/pkg/run.sh", tarfile.REGTYPE, "755", ""),
    ]
    assert {(it.uid, it.gid, it.uname, it.gname, it.mtime) for it in members(layout, packed)} == {(0, 0, "", "", EPOCH)}


def test_the_layer_holds_the_bytes(project: Path, layout: Path) -> None:
    (project / "large").write_bytes(os.urandom(3_000_001))
    packed = pack([Source(project, "/")], layout)
    with tarfile.open(blob(layout, packed.layer.digest)) as tar:
        for name in ("main.py", "large"):
            found = tar.extractfile(name)
            assert found is not None
            assert found.read() == (project / name).read_bytes()


def test_blobs_are_named_by_content_and_the_manifest_names_them(project: Path, layout: Path) -> None:
    packed = pack([Source(project, "/app")], layout)
    found = {path.name for path in (layout / "blobs" / "sha256").iterdir()}
    assert all(hashlib.sha256(blob(layout, name).read_bytes()).hexdigest() == name for name in found)
    manifest = json.loads(blob(layout, packed.manifest).read_bytes())
    assert manifest["layers"][0]["digest"] == packed.layer.digest
    assert manifest["layers"][0]["size"] == packed.layer.size == blob(layout, packed.layer.digest).stat().st_size
    config = json.loads(blob(layout, manifest["config"]["digest"]).read_bytes())
    assert config["rootfs"] == {"type": "layers", "diff_ids": [packed.layer.digest]}
    assert len(found) == 3
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_a_single_file_has_its_destination_as_its_name(project: Path, layout: Path) -> None:
    packed = pack([Source(project / "main.py", "/app/start.py")], layout)
    assert names(layout, packed) == ["app", "app/start.py"]
    assert packed.contents == (digest(Source(project / "main.py", "/elsewhere")),)


def test_several_sources_are_one_layer(project: Path, tmp_path: Path, layout: Path) -> None:
    other = tmp_path / "other"
    (other / "pkg").mkdir(parents=True)
    (other / "pkg" / "more").touch()
    packed = pack([Source(project, "/app"), Source(other, "/app")], layout)
    assert "app/pkg/more" in names(layout, packed)
    assert packed.contents == (digest(Source(project, "/")), digest(Source(other, "/")))


def test_two_sources_cannot_have_the_same_file(project: Path, layout: Path) -> None:
    with pytest.raises(SpecError, match="an entry at `/app/"):
        pack([Source(project, "/app"), Source(project, "/app")], layout)
    with pytest.raises(SpecError, match="both a file and a folder"):
        pack([Source(project / "main.py", "/app"), Source(project, "/app/x")], layout)


def test_a_folder_never_replaces_a_link_of_the_base(project: Path, layout: Path) -> None:
    (project / "bin").mkdir()
    (project / "bin" / "tool").touch()
    assert "usr/bin/tool" in names(layout, pack([Source(project, "/")], layout))
    assert names(layout, pack([Source(project / "main.py", "/lib/x/y")], layout)) == [
        "usr",
        "usr/lib",
        "usr/lib/x",
        "usr/lib/x/y",
    ]


def test_folders_of_every_image_keep_their_modes(project: Path, layout: Path) -> None:
    packed = pack([Source(project / "main.py", "/tmp/a"), Source(project / "main.py", "/root/a")], layout)
    assert {it.name: f"{it.mode:o}" for it in members(layout, packed) if it.isdir()} == {"tmp": "1777", "root": "700"}


def test_names_of_any_bytes_and_length(tmp_path: Path, layout: Path) -> None:
    root, long = os.fsencode(tmp_path / "odd"), b"n" * 200
    (tmp_path / "odd" / os.fsdecode(long)).mkdir(parents=True)
    odd = [b"caf\xe9", b"line\nbreak", b"\xf0\x9f\x98\x80", long + b"/" + long, b" ", b"-", b"*", b"\\"]
    for name in odd:
        with open(root + b"/" + name, "wb") as file:
            file.write(name)
    (tmp_path / "odd" / "link").symlink_to(os.fsdecode(b"\xff" * 150))
    source = Source(os.fsdecode(root), "/o")
    packed = pack([source], layout)
    found = {os.fsencode(it.name): it for it in members(layout, packed)}
    assert set(odd) <= {name.removeprefix(b"o/") for name in found}
    assert os.fsencode(found[b"o/link"].linkname) == b"\xff" * 150
    assert packed.contents == (digest(source),)


def test_links_are_never_followed(tmp_path: Path, layout: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    root = tmp_path / "project"
    root.mkdir()
    for number, target in enumerate((str(secret), str(tmp_path), "../secret", "/etc/shadow", "nowhere", ".")):
        (root / str(number)).symlink_to(target)
    packed = pack([Source(root, "/a")], layout)
    assert all(it.issym() for it in members(layout, packed) if it.name != "a")
    assert b"secret" not in blob(layout, packed.layer.digest).read_bytes().replace(b"/secret", b"")


def test_a_path_that_is_a_link_means_what_it_points_to(project: Path, tmp_path: Path) -> None:
    (tmp_path / "to_folder").symlink_to(project)
    (tmp_path / "to_file").symlink_to(project / "main.py")
    assert digest(Source(tmp_path / "to_folder", "/")) == digest(Source(project, "/"))
    assert digest(Source(tmp_path / "to_file", "/a")) == digest(Source(project / "main.py", "/a"))


def test_hard_links_are_files(project: Path, layout: Path) -> None:
    (project / "again").hardlink_to(project / "main.py")
    assert [it.name for it in members(layout, pack([Source(project, "/a")], layout)) if it.islnk()] == []


def test_an_empty_folder_is_a_folder(tmp_path: Path, layout: Path) -> None:
    (tmp_path / "none").mkdir()
    assert names(layout, pack([Source(tmp_path / "none", "/a/b")], layout)) == ["a", "a/b"]


def test_a_very_large_file_has_its_size_in_the_header() -> None:
    header = layer._header(b"big", "f", mode=0o644, size=9 << 30)
    with tarfile.open(fileobj=io.BytesIO(header)) as tar:
        member = tar.next()
        assert member is not None
        assert member.size == 9 << 30


# --- ignoring


def test_rules_of_the_folder_and_of_the_caller(project: Path, layout: Path) -> None:
    (project / ".dockerignore").write_text("pkg\n!pkg/run.sh\nlink\n")
    (project / "pkg" / "other").touch()
    (project / ".git").mkdir()
    (project / ".git" / "config").touch()
    packed = pack([Source(project, "/a", ignore=("empty", "!.dockerignore"))], layout)
    assert names(layout, packed) == ["a", "a/.dockerignore", "a/main.py", "a/pkg", "a/pkg/run.sh"]


def test_ignored_files_change_nothing(project: Path) -> None:
    before = digest(Source(project, "/"))
    (project / "__pycache__").mkdir()
    (project / "__pycache__" / "main.pyc").touch()
    (project / ".dockerignore").write_text("logs\n")
    (project / "logs").mkdir()
    os.mkfifo(project / "logs" / "pipe")
    assert digest(Source(project, "/")) == before


def test_a_changed_rule_is_a_change(project: Path) -> None:
    before = digest(Source(project, "/"))
    (project / ".dockerignore").write_text("main.py\n")
    assert digest(Source(project, "/")) != before


# --- what does not change is not read


def test_known_files_are_not_read_again(project: Path, layout: Path, reads: list[bytes]) -> None:
    next_tick()
    first = digest(Source(project, "/"))
    assert sorted(reads) == [b"main.py", b"pkg/run.sh"]
    packed = pack([Source(project, "/a")], layout)
    reads.clear()
    assert digest(Source(project, "/")) == first
    assert pack([Source(project, "/a")], layout) == packed
    assert reads == []
    (project / "main.py").write_text("print(2)\n")
    assert digest(Source(project, "/")) != first
    assert reads == [b"main.py"]


def test_same_size_and_same_time_do_not_hide_a_change(project: Path, reads: list[bytes]) -> None:
    next_tick()
    first = digest(Source(project, "/"))
    times = (project / "main.py").stat()
    (project / "main.py").write_text("print(3)\n")
    os.utime(project / "main.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digest(Source(project, "/")) != first


def test_a_file_changed_just_now_is_read_again(project: Path, cache: Path) -> None:
    digest(Source(project, "/"))  # within RACY of its making: no entry may come of it
    assert not cache.exists() or all(b"main.py" not in path.read_bytes() for path in cache.iterdir())


def test_an_old_file_with_a_future_time_is_read_again(project: Path, reads: list[bytes]) -> None:
    ahead = time.time() + 3600
    os.utime(project / "main.py", (ahead, ahead))
    next_tick()
    digest(Source(project, "/"))
    reads.clear()
    digest(Source(project, "/"))
    assert reads == [b"main.py"]


@pytest.mark.parametrize("damage", [b"", b"rubbish", b"00\n{}", None])
def test_a_damaged_index_only_costs_time(project: Path, cache: Path, reads: list[bytes], damage: bytes | None) -> None:
    next_tick()
    first = digest(Source(project, "/"))
    (path,) = cache.iterdir()
    body = path.read_bytes()
    path.write_bytes(body.replace(b"a", b"b", 1) if damage is None else damage)
    reads.clear()
    assert digest(Source(project, "/")) == first
    assert sorted(reads) == [b"main.py", b"pkg/run.sh"]
    assert path.read_bytes() == body


def test_packing_works_without_a_directory_for_the_index(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_file").touch()
    first = digest(Source(project, "/"))
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(tmp_path / "a_file"))
    assert digest(Source(project, "/")) == first
    monkeypatch.delenv("FLYTE_IMAGES_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nothing")
    assert digest(Source(project, "/")) == first
    monkeypatch.delenv("HOME")
    assert digest(Source(project, "/")) == first


@pytest.mark.parametrize("part", ["layer", "manifest", "record"])
def test_a_lost_or_damaged_blob_is_made_again(project: Path, layout: Path, reads: list[bytes], part: str) -> None:
    next_tick()
    packed = pack([Source(project, "/a")], layout)
    (record,) = (layout / "contexts").iterdir()
    path = {"layer": blob(layout, packed.layer.digest), "manifest": blob(layout, packed.manifest), "record": record}[
        part
    ]
    path.write_bytes(b"{}")
    assert pack([Source(project, "/a")], layout) == packed
    assert hashlib.sha256(blob(layout, packed.layer.digest).read_bytes()).hexdigest() == packed.layer.digest[7:]


# --- files that change meanwhile


def test_a_file_that_changes_while_it_is_packed_is_packed_whole(
    project: Path, layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "main.py").write_bytes(b"old" * 1_000_000)
    real, calls = os.read, []

    def read(descriptor: int, size: int) -> bytes:
        data = real(descriptor, size)
        calls.append(len(data))
        if len(calls) == 2:
            next_tick()
            (project / "main.py").write_bytes(b"new" * 900_000)
        return data

    monkeypatch.setattr(os, "read", read)
    packed = pack([Source(project, "/a")], layout)
    monkeypatch.undo()
    with tarfile.open(blob(layout, packed.layer.digest)) as tar:
        found = tar.extractfile("a/main.py")
        assert found is not None
        assert found.read() == b"new" * 900_000
    assert packed.contents == (digest(Source(project, "/"), cache=project.parent / "other"),)


def test_a_file_that_changes_all_the_time_is_refused(
    project: Path, layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        next_tick()
        with open(project / "main.py", "a") as log:
            log.write("more\n")
        return real(descriptor, size)

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(SpecError, match=r"main\.py` changes while it is read"):
        pack([Source(project, "/a")], layout)
    assert list((layout / "blobs" / "sha256").iterdir()) == []


def test_the_digests_are_those_of_the_packed_files(project: Path, layout: Path) -> None:
    """A file changes between the digest and the packing: the digests differ."""
    before = digest(Source(project, "/"))
    (project / "main.py").write_text("print(9)\n")
    packed = pack([Source(project, "/a")], layout)
    assert packed.contents != (before,)
    assert packed.contents == (digest(Source(project, "/")),)


# --- errors


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nowhere` cannot be read: No such file"):
        digest(Source(tmp_path / "nowhere", "/"))


def test_sockets_and_pipes_are_refused_by_name(project: Path) -> None:
    os.mkfifo(project / "pipe")
    with pytest.raises(SpecError, match=r"pipe` is a pipe"):
        digest(Source(project, "/"))
    (project / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(project / "sock"))
        with pytest.raises(SpecError, match=r"sock` is a socket"):
            digest(Source(project, "/"))
    with pytest.raises(SpecError, match="neither a file nor a folder"):
        digest(Source("/dev/null", "/null"))


def test_unreadable_files_are_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root, as whom tests may run, can read everything
    with pytest.raises(SpecError, match=r"main\.py` cannot be read: Permission denied"):
        digest(Source(project, "/"))


@pytest.mark.parametrize("destination", ["app", "", "/a/../b", "./a"])
def test_destinations_are_absolute(destination: str) -> None:
    with pytest.raises(SpecError, match="not an absolute path"):
        Source("x", destination)


def test_a_file_cannot_be_the_root(project: Path, layout: Path) -> None:
    with pytest.raises(SpecError, match="the root of the image"):
        pack([Source(project / "main.py", "/")], layout)


def test_a_full_disk_is_an_error(project: Path) -> None:
    (project / "large").write_bytes(bytes(1 << 16))
    layout = layer.arrange([(tree.scan(project), b"/a", file_index.Index(None, ""))])
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(layer.NotWritten, match="No space left"):
        layer.write(layout, full)


def test_sources_of_a_layer_and_the_line_that_names_them(project: Path) -> None:
    at = Location("/home/me/image.py", 7)
    folder = SourceFolder(target="/app", src=str(project), ignore=("empty",), location=at)
    assert content_digests(folder) == (digest(Source(project, "/", ("empty",))),)
    file = SourceFile(targets=("/a", "/b"), srcs=(str(project / "main.py"), str(project / "link")), location=at)
    assert len(content_digests(file)) == 2
    with pytest.raises(SpecError) as caught:
        content_digests(SourceFolder(target="/app", src=str(project / "gone"), location=at))
    assert caught.value.location == at
