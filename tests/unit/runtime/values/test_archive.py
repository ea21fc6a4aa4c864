"""A directory as one file and back: all entries cross or are named in an error, and none leads out."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_images_runtime.values import Dir, File, Files, Problem, codec
from flyte_images_runtime.values import beneath as module
from flyte_images_runtime.values.budget import Budget

Entry = tuple[str, bytes, str]
MIB = 1 << 20


@pytest.fixture
def crossing(tmp_path: Path) -> Files:
    (tmp_path / "out").mkdir()
    budget = Budget(memory=MIB, disk=4 << 30)
    return Files(str(tmp_path / "out"), arrivals=str(tmp_path / "in"), budget=budget)


def through(files: Files, directory: Path) -> Path:
    one = codec(Dir)
    with files:
        return Path(one.decode(one.encode(Dir(directory), files), files).path)


def unpacked(files: Files, entries: list[Entry]) -> Path:
    """Return the directory made of an archive of these entries: name, kind, and target of a link."""
    with tarfile.open(Path(files.path, "1.tar"), "w") as archive:
        for name, kind, link in entries:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.size = 1 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"x"))
    with files:
        return Path(codec(Dir).decode({"file": "1.tar", "name": "d"}, files).path)


def test_hard_links_stay_hard_links(crossing: Files, tmp_path: Path) -> None:
    """D6: a, b and sub/c are one file."""
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a").write_text("content")
    (source / "b").hardlink_to(source / "a")
    (source / "sub" / "c").hardlink_to(source / "a")
    target = through(crossing, source)
    assert {path.read_text() for path in (target / "a", target / "b", target / "sub" / "c")} == {"content"}
    assert (target / "a").stat().st_nlink == 3


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_an_entry_that_cannot_cross_is_named(kind: str, crossing: Files, tmp_path: Path) -> None:
    """D6: a pipe or a socket is an error, not a silent loss."""
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(source / "sub" / "it")
    else:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(source / "sub" / "it"))
    with pytest.raises(Problem, match=f"holds a .*{kind}: 'sub/it'"):
        through(crossing, source)


def test_a_pipe_is_not_a_file_either(crossing: Files, tmp_path: Path) -> None:
    """D6: a pipe as a File is refused; the caller does not wait for a writer."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Problem, match="not a regular file"):
        codec(File).encode(File(tmp_path / "pipe"), crossing)


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.CONTTYPE, b"S"])
def test_other_kinds_of_entries_are_not_made(kind: bytes, crossing: Files, tmp_path: Path) -> None:
    """D6: devices and pipes that a container sends are refused by name."""
    with pytest.raises(Problem, match="'it'"):
        unpacked(crossing, [("it", kind, "")])
    assert list((tmp_path / "in").glob("*/d/*")) == []


def test_long_names_and_any_bytes(crossing: Files, tmp_path: Path) -> None:
    source = tmp_path / "source"
    deep = source / ("x" * 120) / ("y" * 120)
    deep.mkdir(parents=True)
    (deep / os.fsdecode(b"caf\xe9\n")).write_text("é")
    (source / "link").symlink_to(deep.relative_to(source))
    (source / "later").symlink_to("not-there-yet")
    target = through(crossing, source)
    assert [path.read_text() for path in (target / "link").iterdir()] == ["é"]
    assert (target / "later").is_symlink()


def climbing() -> list[Entry]:
    """Return the entries of D7: a check of `shadow` must see that each k is the directory itself."""
    ks = [(f"k{number}", tarfile.SYMTYPE, ".") for number in range(12)]
    path = "/".join(f"k{number}/.." for number in range(12))
    return [("shadow", tarfile.SYMTYPE, f"{path}/etc/shadow"), *ks]


OUT: dict[str, Callable[[], list[Entry]]] = {
    "climbing": climbing,
    "climbing, the other way round": lambda: climbing()[::-1],
    "absolute": lambda: [("l", tarfile.SYMTYPE, "/etc/passwd")],
    "up": lambda: [("d", tarfile.DIRTYPE, ""), ("d/l", tarfile.SYMTYPE, "../../x")],
    "through another": lambda: [
        ("a", tarfile.SYMTYPE, "b/../x"),
        ("b", tarfile.SYMTYPE, "."),
        ("d", tarfile.DIRTYPE, ""),
    ],
    "later": lambda: [("l", tarfile.SYMTYPE, "later/../../x")],
    "a loop": lambda: [("a", tarfile.SYMTYPE, "b"), ("b", tarfile.SYMTYPE, "a")],
    "a file below a link": lambda: [("l", tarfile.SYMTYPE, ".."), ("l/x", tarfile.REGTYPE, "")],
    "a hard link": lambda: [("h", tarfile.LNKTYPE, "../../canary")],
    "a hard link to a link": lambda: [("l", tarfile.SYMTYPE, "a"), ("h", tarfile.LNKTYPE, "l")],
    "a name": lambda: [("../../x", tarfile.REGTYPE, "")],
    "an absolute name": lambda: [("/x", tarfile.REGTYPE, "")],
}


@pytest.mark.parametrize("by", ["the kernel", "steps"])
@pytest.mark.parametrize("way", OUT)
def test_nothing_leads_out(way: str, by: str, crossing: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D7: whatever the order of the entries, with openat2 and without."""
    if by == "steps":
        monkeypatch.setattr(module, "by_kernel", lambda root, path: None)
    (tmp_path / "canary").write_text("sings")
    with pytest.raises(Problem):
        unpacked(crossing, OUT[way]())
    assert (tmp_path / "canary").stat().st_nlink == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "in", "out"]


@pytest.mark.parametrize("by", ["the kernel", "steps"])
def test_links_that_stay_are_kept(by: str, crossing: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "steps":
        monkeypatch.setattr(module, "by_kernel", lambda root, path: None)
    links = {"l": "a", "d/up": "../a", "d/round": "../d/../l", "d/self": ".", "d/later": "../not/yet", "e": "d/self/up"}
    entries = [
        ("a", tarfile.REGTYPE, ""),
        ("d", tarfile.DIRTYPE, ""),
        *((n, tarfile.SYMTYPE, t) for n, t in links.items()),
    ]
    target = unpacked(crossing, entries)
    assert {name: os.readlink(target / name) for name in links} == links  # noqa: PTH115
    assert (target / "e").read_text() == "x"


def test_holes_stay_holes(crossing: Files, tmp_path: Path) -> None:
    """D10: a file of 1 GiB with one word takes a few blocks, alone and in a directory, in the archive and after it."""
    source = tmp_path / "source"
    source.mkdir()
    with (source / "big").open("wb") as file:
        file.truncate(1 << 30)
        file.seek(512 * MIB)
        file.write(b"word")
    one = codec(File)
    target = [through(crossing, source) / "big", one.decode(one.encode(File(source / "big"), crossing), crossing)]
    target.append(target[1].save(tmp_path / "saved"))
    for path in (*map(Path, target), Path(crossing.path, "1.tar")):
        assert path.stat().st_blocks * 512 < MIB
    for path in map(Path, target):
        assert path.stat().st_size == 1 << 30
        with path.open("rb") as file:
            file.seek(512 * MIB - 1)
            assert file.read(6) == b"\0word\0"


def test_an_incomplete_file_is_refused(crossing: Files, tmp_path: Path) -> None:
    """D10: an archive of 1.5 KB whose header says 2 GiB makes no file."""
    member = tarfile.TarInfo("big")
    member.size = 2 << 30
    Path(crossing.path, "1.tar").write_bytes(member.tobuf() + bytes(1024))
    with crossing, pytest.raises(Problem, match="incomplete file: 'big'"):
        codec(Dir).decode({"file": "1.tar", "name": "d"}, crossing)
    assert list((tmp_path / "in").glob("*/d/*")) == []


def test_all_files_together_are_bounded(tmp_path: Path) -> None:
    """D10: the bound holds for a Dir, and for several Files together."""
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "out").mkdir()
    for name in "abc":
        with (source / name).open("wb") as file:
            file.truncate(MIB)
    for annotation, value in ((Dir, Dir(source)), (list[File], [File(source / name) for name in "abc"])):
        with Files(
            str(tmp_path / "out"), arrivals=str(tmp_path / "in"), budget=Budget(memory=MIB, disk=2 * MIB)
        ) as files:
            files._next = len(list((tmp_path / "out").iterdir()))
            sent = codec(annotation).encode(value, files)
            with pytest.raises(Problem, match="max_result"):
                codec(annotation).decode(sent, files)
