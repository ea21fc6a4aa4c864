"""The lock of a uv project, made by the real uv for an index of made-up packages; reading it asks no index."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from flyte_images.errors import SpecError
from flyte_images.image import Image
from flyte_images.manifests import uv_binary
from flyte_images_layers import PipPackages
from tests.fakes.package_index import Index, serve

PROJECT = """
[project]
name = "demo"
version = "0.1"
requires-python = ">=3.11"
dependencies = ["alpha>=1", "windows ; sys_platform == 'win32'", "Beta[Fast_er]>=1,<3"]

[project.optional-dependencies]
more = ["gamma"]

[dependency-groups]
dev = ["tool"]
all = ["tool", {include-group = "dev"}]

[[tool.uv.index]]
url = "INDEX"
default = true
"""


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    index = Index()
    index.add("alpha", "1.0", requires=["low"])
    index.add("alpha", "2.0", requires=["low"])
    index.add("beta", "1.0", requires=['quick; extra == "fast-er"'])
    for name in ("low", "windows", "gamma", "tool", "quick"):
        index.add(name)
    with serve(index):
        yield index


@pytest.fixture(scope="module")
def locked(index: Index, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project and its lock."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(PROJECT.replace("INDEX", index.url))
    environ = {"PATH": str(Path(sys.executable).parent), "HOME": "/nowhere", "UV_CACHE_DIR": str(folder / "cache")}
    argv = (uv_binary.uv_program(), "lock", "--quiet", "--python", sys.executable, "--project", str(folder))
    subprocess.run(argv, check=True, env=environ)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(tmp_path / "cache"))


def debian(python: str = "3.11") -> Image:
    return Image.from_debian_base(python, platform="linux/amd64")


def read(project: Path, python: str = "3.11", **options: object) -> PipPackages:
    (layer,) = debian(python).with_uv_project(project / "pyproject.toml", **options).layers  # type: ignore[arg-type]
    assert isinstance(layer, PipPackages)
    return layer


def copied(locked: Path, folder: Path, changes: Mapping[str, str]) -> Path:
    folder.mkdir()
    text = (locked / "pyproject.toml").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "pyproject.toml").write_text(text)
    (folder / "uv.lock").write_bytes((locked / "uv.lock").read_bytes())
    return folder


def test_locked_versions_are_required_with_hashes_and_indexes(locked: Path, index: Index) -> None:
    seen = len(index.requests) + len(index.looks)
    layer = read(locked)
    assert [line.partition(";")[0] for line in layer.packages] == [
        *("alpha==2.0", "beta==1.0", "low==1.0", "quick==1.0", "tool==1.0", "windows==1.0")
    ]
    assert layer.packages[-1] == 'windows==1.0; sys_platform == "win32"'
    content = index.files["alpha"]["alpha-2.0-py3-none-any.whl"]
    assert dict(layer.hashes)["alpha"] == (hashlib.sha256(content).hexdigest(),)
    assert layer.index_url == index.url
    assert len(index.requests) + len(index.looks) == seen


@pytest.mark.parametrize(
    ("words", "more", "less"),
    [("--no-dev", set(), {"tool"}), ("--extra more", {"gamma"}, set()), ("--no-dev --all-extras", {"gamma"}, {"tool"})],
)
def test_extras_and_groups_are_selected_as_uv_selects_them(
    locked: Path, words: str, more: set[str], less: set[str]
) -> None:
    names = {line.partition("==")[0] for line in read(locked).packages}
    assert {line.partition("==")[0] for line in read(locked, extra_args=words).packages} == (names | more) - less


def test_the_result_is_cached_until_one_of_the_two_files_changes(
    locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copied(locked, tmp_path / "project", {})
    first = read(project)
    with monkeypatch.context() as patch:
        patch.setattr(uv_binary, "uv_program", lambda: "/nowhere/uv")
        assert read(project) == first
        with pytest.raises((SpecError, OSError)):
            read(project, extra_args="--no-dev")
    (project / "uv.lock").write_text((project / "uv.lock").read_text() + "# changed\n")
    assert read(project) == first


def test_the_lock_may_be_in_another_folder(locked: Path, tmp_path: Path) -> None:
    project = copied(locked, tmp_path / "project", {})
    (tmp_path / "locks").mkdir()
    (project / "uv.lock").rename(tmp_path / "locks/uv.lock")
    assert read(project, uvlock=tmp_path / "locks/uv.lock") == read(locked)


@pytest.mark.parametrize(
    ("old", "new", "odd"),
    [
        ('"alpha>=1"', '"alpha>=2"', "alpha"),
        ('"alpha>=1"', '"alpha>=1", "low"', "low"),
        ('"alpha>=1", ', "", "alpha"),
        ("Beta[Fast_er]", "Beta", "beta"),
        ('more = ["gamma"]', 'more = ["gamma<2"]', "gamma"),
        ('dev = ["tool"]', 'dev = ["tool", "low"]', "low"),
    ],
)
def test_a_lock_that_is_not_up_to_date_is_refused(locked: Path, tmp_path: Path, old: str, new: str, odd: str) -> None:
    with pytest.raises(SpecError, match=f"`uv.lock` is not up to date .* differ in `{odd}`") as caught:
        read(copied(locked, tmp_path / "project", {old: new}))
    assert caught.value.hint == "update it: `uv lock`"
    assert caught.value.location is not None and caught.value.location.file == __file__


def test_another_spelling_is_up_to_date(locked: Path, tmp_path: Path) -> None:
    changes = {"alpha>=1": "Alpha >= 1", "Beta[Fast_er]>=1,<3": "beta[fast-er] <3, >=1"}
    assert read(copied(locked, tmp_path / "project", changes)).packages == read(locked).packages


def test_an_invalid_project_is_refused_with_a_remedy(locked: Path, tmp_path: Path) -> None:
    other = copied(locked, tmp_path / "python", {">=3.11": ">=3.12"})
    with pytest.raises(SpecError, match=r"wants Python >=3.12, the image has 3.11") as caught:
        read(other)
    assert "from_debian_base" in (caught.value.hint or "")
    assert read(other, python="3.12").packages
    renamed = copied(locked, tmp_path / "renamed", {'"demo"': '"another"'})
    with pytest.raises(SpecError, match="does not contain the project `another`"):
        read(renamed)
    (renamed / "uv.lock").unlink()
    with pytest.raises(SpecError, match=r"there is no `uv.lock` beside") as caught:
        read(renamed)
    assert caught.value.hint == "`uv lock` makes it"
    (renamed / "uv.lock").write_text("not toml [")
    with pytest.raises(SpecError, match=r"`uv.lock` is not TOML"):
        read(renamed)
    with pytest.raises(SpecError, match=r"uv cannot read `uv.lock`: .*nowhere"):
        read(locked, extra_args="--group nowhere")
    with pytest.raises(SpecError, match="the option `--frozen` is not supported"):
        read(locked, extra_args="--frozen")
    with pytest.raises(SpecError, match="project_install_mode='install_project' is not supported") as caught:
        read(locked, project_install_mode="install_project")
    assert "with_source_folder" in (caught.value.hint or "")
    with pytest.raises(SpecError, match=r"is not a pyproject.toml"):
        debian().with_uv_project(locked / "uv.lock")
    with pytest.raises(SpecError, match="with_uv_project takes no secret_mounts"):
        read(locked, secret_mounts="x")


def test_a_folder_of_this_machine_is_refused(tmp_path: Path) -> None:
    for name, text in (
        ("lib", '[project]\nname = "lib"\nversion = "1"\n'),
        ("app", '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["lib"]\n'),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(text)
    with (tmp_path / "app/pyproject.toml").open("a") as file:
        file.write('[tool.uv.sources]\nlib = { path = "../lib", editable = true }\n')
    environ = {"PATH": str(Path(sys.executable).parent), "HOME": "/nowhere", "UV_CACHE_DIR": str(tmp_path / "cache")}
    argv = (uv_binary.uv_program(), "lock", "--quiet", "--python", sys.executable, "--project", tmp_path / "app")
    subprocess.run(argv, check=True, env=environ)
    with pytest.raises(SpecError, match="is a folder or file on this machine") as caught:
        read(tmp_path / "app")
    assert "with_source_folder" in (caught.value.hint or "")
    with pytest.raises(SpecError, match="names no package"):
        read(tmp_path / "app", extra_args="--no-emit-package lib")
