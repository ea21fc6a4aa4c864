"""A directory that an engine sends is written unchanged, and never outside its destination."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images.buildkit.pb.session_pb2 import Packet, Stat
from flyte_images.buildkit.services.receive import receive_directory

DIRECTORY, LINK = 1 << 31, 1 << 27


def send(*entries: Stat, data: dict[int, bytes] | None = None) -> Iterator[bytes]:
    for entry in entries:
        yield Packet(type=Packet.STAT, stat=entry).SerializeToString()
    yield Packet(type=Packet.STAT).SerializeToString()
    for index, content in (data or {}).items():
        for part in (*filter(None, (content[:3], content[3:])), b""):
            yield Packet(type=Packet.DATA, id=index, data=part).SerializeToString()
    yield Packet(type=Packet.FIN).SerializeToString()


def test_a_tree(tmp_path: Path) -> None:
    root = tmp_path / "new" / "out"
    entries = (
        Stat(path="d", mode=DIRECTORY | 0o555, mod_time=5_000_000_000),
        Stat(path="d/f", mode=0o640 | 1 << 23, size=6, mod_time=7_000_000_000),
        Stat(path="d/h", mode=0o640, linkname="d/f", size=6),
        Stat(path="e", mode=0o600),
        Stat(path="l", mode=LINK | 0o777, linkname="/etc/passwd"),
        Stat(path="null", mode=1 << 26 | 0o666),
    )
    packets = send(*entries, data={1: b"sixsix", 3: b""})
    answers = [Packet.FromString(it) for it in receive_directory(packets, root)]
    assert [(it.type, it.id) for it in answers] == [(Packet.REQ, 1), (Packet.REQ, 3), (Packet.FIN, 0)]
    assert (root / "d" / "f").read_bytes() == (root / "d" / "h").read_bytes() == b"sixsix"
    assert stat.S_IMODE((root / "d" / "f").stat().st_mode) == 0o4640
    assert (root / "d").stat().st_mtime == 5
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o555
    assert (root / "l").readlink() == Path("/etc/passwd")
    assert not (root / "null").exists()


@pytest.mark.parametrize(
    "entries",
    [
        (Stat(path="../x", mode=0o600),),
        (Stat(path="/etc/x", mode=0o600),),
        (Stat(path="a/b", mode=0o600),),
        (Stat(path="l", mode=LINK, linkname="/tmp"), Stat(path="l/x", mode=0o600)),
        (Stat(path="d", mode=DIRECTORY | 0o700), Stat(path="d/../../x", mode=0o600)),
        (Stat(path="h", mode=0o600, linkname="../secret"),),
    ],
)
def test_no_file_is_written_outside_the_directory(tmp_path: Path, entries: tuple[Stat, ...]) -> None:
    (tmp_path / "secret").write_text("s")
    with pytest.raises(OSError, match="outside of the result"):
        list(receive_directory(send(*entries), tmp_path / "out"))
    assert {path.name for path in tmp_path.iterdir()} == {"out", "secret"}


@pytest.mark.parametrize(
    "entries",
    [
        (Stat(path="f", mode=0o600), Stat(path="f", mode=LINK, linkname="../secret")),
        (Stat(path="d", mode=DIRECTORY | 0o700), Stat(path="d", mode=LINK, linkname=".."), Stat(path="d/secret")),
    ],
)
def test_a_link_does_not_replace_a_checked_path(tmp_path: Path, entries: tuple[Stat, ...]) -> None:
    """D1: an engine that sent a path twice wrote outside: first a file, then a link at its path, then the bytes."""
    (tmp_path / "secret").write_text("s")
    with pytest.raises(OSError, match="twice"):
        list(receive_directory(send(*entries, data={0: b"pwned"}), tmp_path / "out"))
    assert (tmp_path / "secret").read_text() == "s"


def test_an_existing_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "d").symlink_to(tmp_path / "elsewhere")
    entries = (Stat(path="d", mode=DIRECTORY | 0o700), Stat(path="d/f", mode=0o600))
    list(receive_directory(send(*entries, data={1: b"x"}), tmp_path / "out"))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_an_error_packet_of_the_engine_is_raised(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no such thing"):
        list(receive_directory(iter([Packet(type=Packet.ERR, data=b"no such thing").SerializeToString()]), tmp_path))
