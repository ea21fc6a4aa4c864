"""The address of the archive, and the content of its signed files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from flyte_images.bootstrap.archive import Mirror, fetch_archive, host_mirror, read_release, require_tools
from flyte_images.bootstrap.make import bootstrap
from flyte_images.errors import EngineError, SpecError

MAIN, SECURE = "http://mirror.test/debian/", "http://mirror.test/secure/"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], None),
        ([("http://tools.test/", "bookworm")], None),
        ([(MAIN, "bookworm"), (SECURE, "bookworm-updates")], None),
        (
            [(MAIN, "trixie"), (MAIN, "trixie-updates")],
            Mirror(main=MAIN, security="http://mirror.test/debian-security"),
        ),
        (
            [
                ("http://tools.test/", "bookworm"),
                (SECURE, "bookworm-security"),
                (MAIN, "bookworm-updates"),
                (MAIN, "bookworm"),
            ],
            Mirror(main=MAIN, security=SECURE),
        ),
    ],
)
def test_the_mirror_of_this_machine_is_the_archive_with_updates(
    rows: list[tuple[str, str]], expected: Mirror | None
) -> None:
    assert host_mirror(rows) == expected


def test_sources_accept_only_what_debian_has_signed() -> None:
    lines = Mirror(main=MAIN, security=SECURE).sources("bookworm").splitlines()
    assert [line.split("] ")[1] for line in lines] == [
        f"{MAIN} bookworm main",
        f"{MAIN} bookworm-updates main",
        f"{SECURE} bookworm-security main",
    ]
    assert all("[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" in line for line in lines)


def test_a_release_has_its_date_its_hash_and_the_hashes_of_its_lists(tmp_path: Path) -> None:
    text = "Hash: SHA256\n\nCodename: trixie\nDate: Sat, 21 Nov 2026 09:15:44 UTC\nSHA256:\n"
    (tmp_path / "m_dists_trixie_InRelease").write_text(text)
    (tmp_path / "m_dists_trixie_main_binary-amd64_Packages").write_text("Package: a\n")
    (tmp_path / "m_dists_trixie-updates_main_binary-amd64_Packages").write_text("Package: b\n")
    found = read_release(tmp_path / "m_dists_trixie_InRelease")
    assert (found.suite, found.date) == ("trixie", "2026-11-21T09:15:44Z")
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert found.lists == (hashlib.sha256(b"Package: a\n").hexdigest(),)


def test_a_mirror_that_is_not_an_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="`mirror`") as raised:
        fetch_archive("bookworm", tmp_path, environ={"FLYTE_IMAGES_DEBIAN_MIRROR": "mirror"})
    assert "http://" in str(raised.value.hint)


def test_without_mmdebstrap_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="`mmdebstrap` is not installed") as raised:
        require_tools({"PATH": str(tmp_path)})
    assert "apt-get install mmdebstrap" in str(raised.value.hint)
    assert raised.value.exit_code == 3


def test_an_unknown_suite_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="`buster`") as raised:
        bootstrap("buster", environ={"FLYTE_IMAGES_CACHE": str(tmp_path / "cache")}, note=print)
    assert raised.value.hint == "known suites: bookworm, trixie"
    assert not (tmp_path / "cache").exists()
