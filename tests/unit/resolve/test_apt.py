"""Lines of find_debs.sh become files; a message of apt becomes one error with a remedy."""

from __future__ import annotations

import pytest

from flyte_images.buildkit.failure import StepError
from flyte_images.resolve import apt
from flyte_images_layers.steps import Deb

POOL = "http://archive.test/pool"
LINES = f"""\
libpcre2-8-0 10.42-1 amd64 libpcre2-8-0_10.42-1_amd64.deb 261900 aa11 {POOL}/libpcre2-8-0_10.42-1_amd64.deb
git 1:2.39.2-1.1 amd64 git_1%3a2.39.2-1.1_amd64.deb 7259900 bb22 {POOL}/git_2.39.2-1.1_amd64.deb
git-man 1:2.39.2-1.1 all git-man_1%3a2.39.2-1.1_all.deb 2053500 cc33 {POOL}/git-man_2.39.2-1.1_all.deb
"""


def test_lines_become_files_in_the_order_of_their_names() -> None:
    debs = apt.parse(LINES)
    assert [deb.name for deb in debs] == ["git", "git-man", "libpcre2-8-0"]
    assert debs[0] == Deb(
        name="git",
        version="1:2.39.2-1.1",
        architecture="amd64",
        filename="git_1%3a2.39.2-1.1_amd64.deb",
        sha256="bb22",
        size=7259900,
    )
    assert debs[0].url == "http://archive.test/pool/git_2.39.2-1.1_amd64.deb"
    assert apt.parse("") == ()


@pytest.mark.parametrize(
    ("log", "message", "hint"),
    [
        (
            "Reading package lists...\nE: Unable to locate package gti\n",
            "Unable to locate package gti",
            "Debian release",
        ),
        ("E: Package 'x' has no installation candidate\n", "has no installation candidate", "Debian release"),
        ("E: Version '9' for 'git' was not found\n", "Version '9' for 'git' was not found", "archives have other"),
        (
            "W: Failed to fetch http://archive.test/InRelease  Temporary failure resolving 'archive.test'\nE: x\n",
            "Temporary failure resolving 'archive.test'",
            "check that the engine reaches",
        ),
    ],
)
def test_a_message_of_apt_is_an_error_with_a_remedy(log: str, message: str, hint: str) -> None:
    error = apt._error(StepError("a step failed", vertex="sha256:0", exit_status=100, log=log), ["git", "gti"])
    assert str(error).startswith("apt cannot find git, gti:\n")
    assert message in str(error) and "E: " not in str(error) and "Reading" not in str(error)
    assert hint in (error.hint or "")


def test_an_unknown_failure_shows_the_log() -> None:
    error = apt._error(StepError("exit code 127", vertex="x", log="/bin/sh: apt-get: not found"), ["git"])
    assert "exit code 127" in str(error) and "apt-get: not found" in str(error)
