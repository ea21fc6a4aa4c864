"""A tree as mmdebstrap writes it -> a layer."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from flyte_images.bootstrap.layer import is_excluded, pack_layer

EPOCH = 2_000  # the date of files that were written while the system was made


def tree(path: Path, *entries: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            tar.addfile(entry, io.BytesIO(b"x" * entry.size))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, *, mtime: float = 1_000, **more: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.mtime, found.uname = kind, mtime, "root"  # type: ignore[assignment]
    found.size = 3 if kind == tarfile.REGTYPE else 0
    for key, value in more.items():
        setattr(found, key, value)
    return found


def read(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path, "r:gz") as tar:
        return {it.name: it for it in tar}


def test_files_that_were_written_today_get_the_date_of_the_newest_package(tmp_path: Path) -> None:
    given = tree(
        tmp_path / "tree",
        entry("./", tarfile.DIRTYPE, mtime=EPOCH),
        entry("./etc/", tarfile.DIRTYPE, mtime=EPOCH),
        entry("./etc/passwd", mtime=EPOCH),
        entry("./usr/lib/old", mtime=500),
        entry("./usr/lib/new", mtime=1_500.75),
        entry("./etc/resolv.conf", mtime=1_900),  # excluded, so its date does not count
    )
    packed = pack_layer(given, tmp_path / "layer", before=EPOCH)
    assert packed.newest == 1_500
    assert {name: it.mtime for name, it in read(tmp_path / "layer").items()} == {
        "etc": 1_500,
        "etc/passwd": 1_500,
        "usr/lib/old": 500,
        "usr/lib/new": 1_500,
    }


def test_the_day_of_the_build_changes_no_byte(tmp_path: Path) -> None:
    layers = []
    for epoch in (EPOCH, EPOCH + 86_400):
        given = tree(tmp_path / "tree", entry("./a", mtime=700), entry("./b", mtime=epoch))
        pack_layer(given, tmp_path / "layer", before=epoch)
        layers.append((tmp_path / "layer").read_bytes())
    assert layers[0] == layers[1]


def test_the_diff_id_is_of_the_tar_inside(tmp_path: Path) -> None:
    packed = pack_layer(tree(tmp_path / "tree", entry("./a")), tmp_path / "layer", before=EPOCH)
    inside = gzip.decompress((tmp_path / "layer").read_bytes())
    assert packed.diff_id == f"sha256:{hashlib.sha256(inside).hexdigest()}"


def test_owners_modes_links_and_capabilities_stay(tmp_path: Path) -> None:
    given = tree(
        tmp_path / "tree",
        entry("./usr/bin/su", mode=0o4755, uid=0, gid=42),
        entry("./usr/bin/hard", tarfile.LNKTYPE, linkname="./usr/bin/su"),
        entry("./bin", tarfile.SYMTYPE, linkname="usr/bin"),
        entry("./usr/bin/ping", pax_headers={"SCHILY.xattr.security.capability": "cap", "atime": "1234.5"}),
    )
    pack_layer(given, tmp_path / "layer", before=EPOCH)
    found = read(tmp_path / "layer")
    assert (found["usr/bin/su"].mode, found["usr/bin/su"].gid) == (0o4755, 42)
    assert found["usr/bin/hard"].linkname == "usr/bin/su"
    assert found["bin"].linkname == "usr/bin"
    assert found["usr/bin/ping"].pax_headers == {"SCHILY.xattr.security.capability": "cap"}
    assert {it.uname for it in found.values()} == {""}


@pytest.mark.parametrize(
    "name",
    [
        *("dev/null", "proc/1", "run/lock", "tmp/x", "etc/hostname", "etc/machine-id", "etc/passwd-", "etc/.pwd.lock"),
        *("var/log/apt/term.log", "var/log/dpkg.log", "var/cache/apt/pkgcache.bin", "var/cache/ldconfig/aux-cache"),
        *(
            "var/lib/apt/lists/x_InRelease",
            "var/lib/apt/extended_states",
            "var/lib/dpkg/lock",
            "var/lib/dpkg/status-old",
        ),
        *("var/cache/debconf/config.dat-old", "usr/share/info/dir"),
    ],
)
def test_files_of_one_machine_or_one_day_are_excluded(name: str) -> None:
    assert is_excluded(name, is_directory=False)


@pytest.mark.parametrize(
    "name",
    [
        *("etc/passwd", "etc/apt/sources.list.d/debian.sources", "var/lib/dpkg/status", "var/lib/dpkg/info/libc6.list"),
        *(
            "usr/share/zoneinfo/UTC",
            "var/cache/debconf/config.dat",
            "usr/lib/python3.11/tmp/x",
            "var/lib/dpkg/triggers/File",
        ),
    ],
)
def test_other_files_stay(name: str) -> None:
    assert not is_excluded(name, is_directory=False)


@pytest.mark.parametrize("name", ["dev", "run", "tmp", "var/log", "var/log/apt", "var/cache/apt/archives/partial"])
def test_directories_that_programs_expect_stay(name: str) -> None:
    assert not is_excluded(name, is_directory=True)
