"""A project's lock gives the same image on another machine, from another mirror, and with a newer index."""

from __future__ import annotations

import itertools
import os
import runpy
import shutil
from pathlib import Path

import pytest

from flyte_images.builder.prepare import LOCK_NAME, contents_of, locked
from flyte_images.buildkit.build_context import BuildContext
from flyte_images.buildkit.client import Client
from flyte_images.errors import ResolveError, SpecError
from flyte_images.image import Image
from flyte_images.plan.lock import dumps
from tests.fakes.package_index import Index, serve

from .conftest import WORD, Builds, run_in

pytestmark = pytest.mark.engine

_NUMBERS = itertools.count()


@pytest.fixture
def package() -> str:
    """A package for each test, so that tests do not share built or resolved packages."""
    return f"{WORD}-locked{next(_NUMBERS)}"


def no_engine() -> Client:
    raise AssertionError("no engine is needed for Python packages")


@pytest.fixture
def image(tmp_path: Path, package: str) -> Image:
    """The image of a project in a separate folder."""
    file = tmp_path / "images.py"
    made = f'Image.from_debian_base("3.11", name="{WORD}-project").with_pip_packages("{package}")'
    file.write_text(f"from flyte_images import Image\nimage = {made}\n")
    found = runpy.run_path(str(file))["image"]
    assert isinstance(found, Image)
    return found


@pytest.fixture
def lock(image: Image, tmp_path: Path, index: Index, package: str) -> Path:
    """The lock of the project, made when the package had one version."""
    index.add(package, "1.0")
    path = tmp_path / LOCK_NAME
    found = locked(image, BuildContext(environ=os.environ, connect=no_engine), contents=contents_of(image))
    path.write_text(dumps({"app": (image, found)}))
    return path


@pytest.fixture
def another_machine(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty the cache of resolved packages."""
    own = tmp_path / "cache"
    for name in ("bases", "oci"):
        shutil.copytree(cache / name, own / name, copy_function=os.link)
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(own))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))


@pytest.mark.usefixtures("lock", "another_machine")
def test_a_new_version_in_the_index_does_not_change_the_image(
    image: Image, builds: Builds, index: Index, package: str
) -> None:
    index.add(package, "2.0")
    result, _ = builds(image)
    program = f"import {package.replace('-', '_')} as p; print(p.VERSION)"
    assert run_in(result, "python", "-c", program) == "1.0\n"


def test_another_mirror_gives_the_same_image(
    image: Image,
    lock: Path,
    builds: Builds,
    index: Index,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, _ = builds(image)
    request.getfixturevalue("another_machine")
    with serve(Index(files=index.files, metadata=index.metadata)) as mirror:
        monkeypatch.setenv("UV_DEFAULT_INDEX", mirror.url)
        again, _ = builds(image, no_cache=True)
    assert (again.digest, again.plan, again.ref) == (first.digest, first.plan, first.ref)


def test_a_file_that_no_index_has_is_an_error(
    image: Image, lock: Path, builds: Builds, index: Index, package: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("another_machine")
    index.files[package] = {}
    index.add(package, "1.0", {"another.py": f"{WORD} = 1"})
    with pytest.raises(ResolveError) as caught:
        builds(image)
    assert "no index offers the locked file with sha256" in str(caught.value)
    assert "lock --upgrade" in (caught.value.hint or "")
    lock.unlink()
    builds(image)


def test_a_damaged_lock_is_an_error_and_no_step_runs(image: Image, lock: Path, builds: Builds) -> None:
    lock.write_text(lock.read_text().replace('"format"', '"fromat"'))
    with pytest.raises(SpecError) as caught:
        builds(image)
    assert str(lock) in str(caught.value) and "flyte-images lock" in (caught.value.hint or "")


def test_a_mirror_that_moved_is_found_again(
    image: Image, builds: Builds, index: Index, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache has the old address; the engine cannot fetch from the old address, so the index is asked again."""
    index.add(package, "1.0")
    with serve(Index(files=index.files, metadata=index.metadata)) as old:
        monkeypatch.setenv("UV_DEFAULT_INDEX", old.url)
        locked(image, BuildContext(environ=os.environ, connect=no_engine), contents=contents_of(image))
    with serve(Index(files=index.files, metadata=index.metadata)) as new:
        monkeypatch.setenv("UV_DEFAULT_INDEX", new.url)
        result, _ = builds(image)
        assert new.fetched
    assert run_in(result, "python", "-c", f"import {package.replace('-', '_')} as p; print(p.VERSION)") == "1.0\n"
