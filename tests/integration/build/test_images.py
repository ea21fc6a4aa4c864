"""An image matches its description; a change runs the changed steps only; images share equal steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flyte_images.image import Image
from tests.fakes.package_index import Index

from .conftest import WORD, Builds, debian, docker, run_in

pytestmark = pytest.mark.engine

ALPHA, BETA, GAMMA, BIG = (f"{WORD}-{name}" for name in ("alpha", "beta", "gamma", "big"))


def packages(image: Image) -> Image:
    return image.with_pip_packages(ALPHA, BIG)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    (folder / "main.py").write_text(f"import {WORD}_alpha\nprint('{WORD}', {WORD}_alpha.VERSION)\n")
    (folder / "data").mkdir()
    (folder / "data" / "a b.txt").write_text("spaced")
    (folder / "tool.sh").write_text("#!/bin/sh\necho tool\n")
    (folder / "tool.sh").chmod(0o755)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"not wanted")
    return folder


@pytest.fixture(scope="session")
def full(source: Path) -> Image:
    return (
        packages(debian())
        .with_env_vars({"MODE": "test run", "PRICE": "$5", "mark": "user's", "epoch": "own", "status": "fine"})
        .with_workdir("/srv/app")
        .with_source_folder(source, ".", copy_contents_only=True)
        .with_commands(
            [
                f"echo {WORD} $MODE $mark $epoch $status >/srv/app/made",
                ["touch", "/srv/app/a b; rm -rf $HOME"],
                ["python", "main.py"],
            ]
        )
    )


@pytest.fixture(scope="session", autouse=True)
def once(builds: Builds, full: Image) -> None:
    """Build the image before the tests use it."""
    builds(full)


def test_the_image_has_everything_in_its_description(builds: Builds, full: Image) -> None:
    result, _ = builds(full)
    assert run_in(result, "python", "main.py") == f"{WORD} 1.0\n"
    assert run_in(result, "sh", "-c", 'echo "$MODE|$PRICE|$PWD"') == "test run|$5|/srv/app\n"
    assert run_in(result, "cat", "made") == f"{WORD} test run user's own fine\n"
    assert run_in(result, "./tool.sh") == "tool\n"
    names = run_in(result, "find", ".", "-type", "f").splitlines()
    assert sorted(names) == ["./a b; rm -rf $HOME", "./data/a b.txt", "./made", "./main.py", "./tool.sh"]


def test_python_is_complete_and_finds_its_packages(builds: Builds, full: Image) -> None:
    result, _ = builds(full)
    program = (
        "import sys, ssl, sqlite3, ctypes, lzma, importlib.metadata as m;"
        f"print(sys.prefix, m.version('{ALPHA}'), m.version('{BETA}'), sys.version_info[:2])"
    )
    assert run_in(result, "python", "-c", program) == "/opt/venv 1.0 1.5 (3, 11)\n"
    # Byte code is there and is taken: nothing is written at start, even as root with a writable file system.
    found = f"import {WORD}_alpha as a; import os; print(os.path.exists(a.__cached__), a.__cached__)"
    assert run_in(result, "python", "-c", found).startswith("True /opt/venv/lib/python3.11/site-packages/")


def test_every_added_file_has_the_same_time(builds: Builds, full: Image) -> None:
    result, _ = builds(full)
    program = "find /opt/venv /srv/app ! -newermt @315532800 ! -newermt 1980-01-01 -prune -o -print"
    newer = run_in(result, "sh", "-c", f"{program} | head -5")
    assert newer == ""


def test_the_image_contains_no_build_files(builds: Builds, full: Image) -> None:
    result, _ = builds(full)
    found = run_in(result, "find", "/", "-xdev", "-name", "*flyte-images*")
    assert found.splitlines() == []
    assert run_in(result, "sh", "-c", "ls -A /run/secrets 2>/dev/null; true") == ""


def test_an_unchanged_image_is_not_solved_again(builds: Builds, full: Image) -> None:
    first, _ = builds(full)
    again, seen = builds(full)
    assert again.cached and seen.images == [] and seen.events == [] and seen.notes == []
    assert (again.ref, again.digest, again.plan) == (first.ref, first.digest, first.plan)


def test_the_digest_is_that_of_the_engines_image(builds: Builds, full: Image) -> None:
    result, _ = builds(full)
    inspected = json.loads(docker("image", "inspect", result.ref))[0]
    assert inspected["Id"] == result.digest
    assert inspected["Config"]["Labels"]["io.flyte-images.plan"] == result.plan
    assert result.base.startswith("debian bookworm") or "python:3.11" in result.base


def test_another_package_runs_one_step(builds: Builds, full: Image, index: Index) -> None:
    before = len(index.fetched)
    result, seen = builds(packages(debian()).with_pip_packages(GAMMA))
    assert index.fetched[before:] == [f"{WORD}_gamma-1.0-py3-none-any.whl"]
    (ran,) = (name for name in seen.ran if WORD in name)
    assert f"{GAMMA} 1.0" in ran and BIG not in ran  # its bucket alone
    assert not result.cached
    assert run_in(result, "python", "-c", f"import {WORD}_gamma, {WORD}_alpha, {WORD}_big") == ""


def test_a_changed_source_runs_one_step(builds: Builds, source: Path, index: Index) -> None:
    image = packages(debian()).with_source_folder(source, "/app", copy_contents_only=True)
    first, _ = builds(image)
    before = len(index.fetched)
    (source / "more.py").write_text("x = 1\n")
    try:
        second, seen = builds(image)
        assert not [name for name in seen.ran if WORD in name]
        assert index.fetched[before:] == []
        assert second.digest != first.digest
        assert run_in(second, "cat", "/app/more.py") == "x = 1\n"
    finally:
        (source / "more.py").unlink()
    third, seen = builds(image)
    assert third.digest == first.digest and third.cached


def test_a_touched_source_runs_no_step(builds: Builds, source: Path) -> None:
    image = packages(debian()).with_source_folder(source, "/app", copy_contents_only=True)
    builds(image)
    (source / "main.py").touch()
    result, seen = builds(image)
    assert result.cached and seen.events == []


def test_packages_do_not_depend_on_the_base(builds: Builds) -> None:
    base, _ = builds(debian("base").with_env_vars({"BASE": "mine"}).with_commands([f"echo {WORD} >/base"]))
    image = packages(
        Image.from_base(base.ref.removeprefix("docker.io/library/"), python_version="3.11", name=f"{WORD}-on")
    )
    result, seen = builds(image)
    assert not [name for name in seen.ran if f"{WORD}-" in name]
    program = f"import os, {WORD}_alpha; print(os.environ['BASE'], open('/base').read().strip(), {WORD}_alpha.VERSION)"
    assert run_in(result, "python", "-c", program) == f"mine {WORD} 1.0\n"


def test_images_built_at_once_share_their_steps(builds: Builds, index: Index) -> None:
    filename = index.add(f"{WORD}-shared", "1.0")
    images = {
        f"{WORD}-one": packages(debian("one")).with_pip_packages(f"{WORD}-shared"),
        f"{WORD}-two": packages(debian("two")).with_pip_packages(f"{WORD}-shared").with_env_vars({"TWO": "2"}),
        f"{WORD}-three": debian("three").with_commands([f"echo {WORD}"]),
    }
    results, seen = builds.together(images)
    assert [it.name for it in results] == list(images)
    assert sorted(seen.images) == sorted(images)
    assert index.fetched.count(filename) == 1
    assert len({it.digest for it in results}) == 3
    for result in results[:2]:
        assert run_in(result, "python", "-c", f"import {WORD}_shared, {WORD}_big") == ""
    again, seen = builds.together(images)
    assert [it.digest for it in again] == [it.digest for it in results]
    assert all(it.cached for it in again) and seen.events == []


def test_a_wheel_of_this_machine_is_served_by_this_client(
    builds: Builds, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "shelf" / f"{WORD}-local"
    shelf.mkdir(parents=True)
    from tests.fakes.package_index import wheel_bytes

    name = f"{WORD}_local-1.0-py3-none-any.whl"
    (shelf / name).write_bytes(wheel_bytes(f"{WORD}-local", "1.0", {f"{WORD}_local.py": "x = 1\n"}))
    (shelf / "index.html").write_text(f'<a href="{name}">{name}</a>')
    image = debian("local").with_pip_packages(f"{WORD}-local", index_url=shelf.parent.as_uri())
    result, _ = builds(image)
    assert run_in(result, "python", "-c", f"import {WORD}_local") == ""


@pytest.mark.network
def test_debian_packages_are_installed_and_resolved_once(builds: Builds) -> None:
    image = packages(debian("apt")).with_apt_packages("tree")
    result, seen = builds(image)
    assert run_in(result, "tree", "--version").startswith("tree v")
    assert run_in(result, "python", "-c", f"import {WORD}_big") == ""
    assert not [name for name in seen.ran if f"{WORD}-" in name]
    again, seen = builds(image.with_env_vars({"A": "1"}))
    assert again.digest != result.digest
    assert not [name for name in seen.ran if "apt" in name]
