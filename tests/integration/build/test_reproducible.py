"""The same description and the same lock give the same bytes, and so the same digest of the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flyte_images.image import Image

from ...fakes.clock import next_second
from .conftest import WORD, Builds, debian, docker, run_in

pytestmark = pytest.mark.engine

# What a command may do that shows the day: new files, changed ones, folders, links, byte code, a user.
COMMANDS: list[str | list[str]] = [
    f"mkdir -p /srv/{WORD}/deep && echo 1 >/srv/{WORD}/deep/file && ln -s deep/file /srv/{WORD}/link",
    "echo changed >>/etc/environment && rm /etc/issue && chmod 700 /srv",
    ["python", "-c", "import compileall; compileall.compile_dir('/usr/lib/python3.11/email', quiet=1)"],
    "useradd --create-home app && su app -c 'touch ~/mine'",
]


@pytest.fixture
def image(tmp_path: Path) -> Image:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("x = 1\n")
    return (
        debian("again")
        .with_pip_packages(f"{WORD}-alpha", f"{WORD}-big")
        .with_source_folder(tmp_path / "src", "/app", copy_contents_only=True)
        .with_workdir("/srv/made/by/workdir")
        .with_commands(COMMANDS)
    )


def test_a_build_from_an_empty_cache_gives_the_same_image(builds: Builds, image: Image) -> None:
    first, _ = builds(image)
    next_second()  # the times of files have whole seconds, so another second stands for another day
    again, seen = builds(image, no_cache=True)
    assert len([name for name in seen.ran if WORD in name or "python" in name or "useradd" in name]) >= 5
    assert not again.cached
    assert again.digest == first.digest
    assert run_in(again, "stat", "-c", "%Y %U", "/home/app/mine", f"/srv/{WORD}/deep").splitlines() == [
        "315532800 app",
        "315532800 root",
    ]


@pytest.mark.network
def test_debian_packages_give_the_same_image_again(builds: Builds) -> None:
    image = debian("apt-again").with_apt_packages("tree", "cron").with_commands([f"echo {WORD} >/marker"])
    first, _ = builds(image)
    next_second()
    again, seen = builds(image, no_cache=True)
    assert "apt packages cron, tree" in seen.ran
    assert again.digest == first.digest


def test_the_creation_time_of_an_image_is_that_of_its_base(builds: Builds, image: Image) -> None:
    result, _ = builds(image)
    inspected = json.loads(docker("image", "inspect", result.ref))[0]
    history = json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", result.ref))
    assert len(history) == len(set(history))
    said = docker("history", "--no-trunc", "--format", "{{.CreatedAt}}", result.ref).splitlines()
    assert len(set(said)) == 1 and said[0][:10] == inspected["Created"][:10]


def test_names_do_not_change_the_image(builds: Builds, image: Image, tmp_path: Path) -> None:
    first, _ = builds(image)
    (tmp_path / "src").rename(tmp_path / "renamed")
    layers = (
        debian("renamed")
        .with_pip_packages(f"{WORD}-big", f"{WORD}-alpha")
        .with_source_folder(tmp_path / "renamed", "/app", copy_contents_only=True)
        .with_workdir("/srv/made/by/workdir")
        .with_commands(COMMANDS)
    )
    second, seen = builds(layers)
    assert (second.digest, second.plan) == (first.digest, first.plan)
    assert second.ref != first.ref
    assert not [name for name in seen.ran if WORD in name]
