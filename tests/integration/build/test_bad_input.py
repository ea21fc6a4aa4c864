"""An image that cannot be built is one error with place and remedy; nothing is left, and the next build succeeds."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flyte_images.errors import BuildError, EngineError, FlyteImagesError, Location, ResolveError, SpecError
from flyte_images.image import Image
from tests.fakes.package_index import Index

from .conftest import WORD, Builds, debian, docker

pytestmark = pytest.mark.engine

ARM = "cp311-cp311-manylinux_2_28_aarch64"


@pytest.fixture(scope="module", autouse=True)
def shelf(index: Index) -> Index:
    """Packages that cannot be resolved or installed."""
    index.add(f"{WORD}-arm", "1.0", tag=ARM)
    index.add(f"{WORD}-old", "1.0", requires=[f"{WORD}-beta<1"])
    index.lies.add(index.add(f"{WORD}-liar", "1.0"))
    index.faults[index.add(f"{WORD}-gone", "1.0")] = 404
    index.faults[index.add(f"{WORD}-sick", "1.0")] = 500
    nozip = index.add(f"{WORD}-nozip", "1.0")
    index.files[f"{WORD}-nozip"][nozip] = b"this is no zip"
    index.add(f"{WORD}-outside", "1.0", {"../../../../../../etc/passwd": "x"})
    return index


@pytest.fixture(autouse=True)
def good_before_and_after(builds: Builds) -> Iterator[None]:
    """Check that a good image can be built after each failure, and that failed builds leave nothing."""
    good = debian("good").with_pip_packages(f"{WORD}-alpha")
    builds(good)
    before, threads = _left(), _threads()
    yield
    assert _left() <= before
    assert _threads() <= threads
    result, _ = builds(good.with_env_vars({"AFTER": "1"}))
    assert result.digest


def _left() -> set[str]:
    """Return the containers of this session, and the images of failed builds."""
    images = docker("image", "ls", "--all", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    containers = docker("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Image}} {{.Command}}").splitlines()
    return {name for name in images if f"{WORD}-bad" in name} | {name for name in containers if WORD in name}


def _threads() -> set[str]:
    return {f"{it.name}-{it.ident}" for it in threading.enumerate() if it.name.startswith("flyte-images")}


@dataclass(frozen=True)
class Bad:
    make: Callable[[], Image]
    error: type[FlyteImagesError]
    told: tuple[str, ...]
    hint: str | None


BAD = {
    "unknown package": Bad(
        lambda: debian("bad").with_pip_packages(f"{WORD}-nowhere"),
        ResolveError,
        (f"{WORD}-nowhere was not found",),
        "check the spelling of the name",
    ),
    "unknown version": Bad(
        lambda: debian("bad").with_pip_packages(f"{WORD}-beta==9"),
        ResolveError,
        (f"there is no version of {WORD}-beta==9",),
        "loosen",
    ),
    "conflict": Bad(
        lambda: debian("bad").with_pip_packages(f"{WORD}-alpha", f"{WORD}-old"),
        ResolveError,
        (f"{WORD}-old depend on {WORD}-beta<1", "incompatible"),
        "loosen one of the requirements",
    ),
    "another platform only": Bad(
        lambda: debian("bad").with_pip_packages(f"{WORD}-arm"),
        ResolveError,
        (f"{WORD}-arm", "aarch64"),
        "name a version that has a wheel",
    ),
    "another checksum": Bad(
        lambda: debian("bad").with_pip_packages(f"{WORD}-liar"),
        FlyteImagesError,
        (f"{WORD}_liar-1.0-py3-none-any.whl",),
        "",
    ),
    "a file that is gone": Bad(
        lambda: debian("bad").with_pip_packages(f"{WORD}-gone"),
        FlyteImagesError,
        ("404",),
        "",
    ),
    "a file of a sick index": Bad(
        lambda: debian("bad").with_pip_packages(f"{WORD}-sick"),
        FlyteImagesError,
        ("500",),
        "",
    ),
    "a wheel that is no zip": Bad(
        lambda: debian("bad").with_pip_packages(f"{WORD}-nozip"),
        BuildError,
        ("cannot be installed: File is not a zip file",),
        None,
    ),
    "a wheel that reaches out": Bad(
        lambda: debian("bad").with_pip_packages(f"{WORD}-outside"),
        BuildError,
        ("a path outside of the environment",),
        None,
    ),
    "a failing command": Bad(
        lambda: debian("bad").with_commands([f"echo about to fail {WORD}; ls /nowhere"]),
        BuildError,
        (f"about to fail {WORD}", "cannot access '/nowhere'", "exit status 2"),
        None,
    ),
    "a long command": Bad(
        lambda: debian("bad").with_commands([f": {WORD} {'x' * 40_000}; exit 7"]),
        BuildError,
        ("exit status 7",),
        None,
    ),
    "an unknown command": Bad(
        lambda: debian("bad").with_commands([[f"{WORD}-no-such-program", "x"]]),
        BuildError,
        (f"{WORD}-no-such-program: not found",),
        f"the image has no `{WORD}-no-such-program`: .with_apt_packages(",
    ),
    "an unknown base": Bad(
        lambda: Image.from_base("127.0.0.1:1/nobody/nothing:1", name=f"{WORD}-bad"),
        ResolveError,
        ("127.0.0.1:1/nobody/nothing:1",),
        "",
    ),
}


def said(error: FlyteImagesError) -> str:
    return f"{error}\n{getattr(error, 'command', '')}\n{getattr(error, 'log', '')}"


@pytest.mark.parametrize("what", BAD)
def test_one_error_with_place_and_remedy(what: str, builds: Builds) -> None:
    bad = BAD[what]
    image = bad.make()
    for _ in range(2):  # and it says the same when it is tried again
        with pytest.raises(FlyteImagesError) as caught:
            builds(image)
        error = caught.value
        assert isinstance(error, bad.error)
        for told in bad.told:
            assert told in said(error)
        place = image.layers[-1].location if image.layers else image.location
        assert isinstance(error.location, Location) and error.location == place
        if bad.hint is not None:
            assert error.hint and bad.hint in error.hint
        assert "Traceback" not in said(error)


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "hint"), [("no-such-package-anywhere", "Debian release"), ("tree=99.9", "archives have other versions")]
)
def test_an_unknown_debian_package(name: str, hint: str, builds: Builds) -> None:
    image = debian("bad").with_apt_packages(name)
    with pytest.raises(ResolveError) as caught:
        builds(image)
    assert name.partition("=")[0] in str(caught.value)
    assert hint in (caught.value.hint or "")
    assert caught.value.location == image.layers[0].location


def test_an_index_that_does_not_answer(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:1/simple")
    image = debian("bad").with_pip_packages(f"{WORD}-gamma", f"{WORD}-beta")
    with pytest.raises(ResolveError) as caught:
        builds(image)
    assert "127.0.0.1:1" in str(caught.value) and "does the index answer?" in (caught.value.hint or "")
    assert caught.value.location == image.layers[0].location


@pytest.mark.parametrize("address", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1"])
def test_no_engine(address: str, builds: Builds, monkeypatch: pytest.MonkeyPatch) -> None:
    image = debian("bad").with_pip_packages(f"{WORD}-alpha").with_commands([f"echo {WORD} never"])
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(EngineError) as caught:
        builds(image)
    assert caught.value.exit_code == 3
    assert address.partition("://")[2] in str(caught.value)
    assert caught.value.hint
    monkeypatch.undo()


def test_an_unknown_builder(builds: Builds) -> None:
    with pytest.raises(EngineError) as caught:
        builds(debian("bad").with_commands([f"echo {WORD} never"]), builder="tcp://127.0.0.1:1")
    assert "127.0.0.1:1" in str(caught.value) and caught.value.hint


def test_a_source_that_was_removed(builds: Builds, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    image = debian("bad").with_source_folder(tmp_path / "src", "/app")
    (tmp_path / "src").rmdir()
    with pytest.raises(SpecError) as caught:
        builds(image)
    assert str(tmp_path / "src") in str(caught.value)
    assert caught.value.location == image.layers[0].location


def test_a_python_that_no_base_has(builds: Builds) -> None:
    image = Image.from_debian_base("3.99", name=f"{WORD}-bad")
    with pytest.raises(FlyteImagesError) as caught:
        builds(image)
    assert "3.99" in str(caught.value) and caught.value.hint and "3.11" in f"{caught.value} {caught.value.hint}"
    assert caught.value.location == image.location


def test_two_platforms_at_once(builds: Builds) -> None:
    image = Image.from_debian_base("3.11", platform=["linux/amd64", "linux/arm64"])
    with pytest.raises(SpecError) as caught:
        builds(image)
    assert "linux/amd64, linux/arm64" in str(caught.value) and "clone(platform=" in (caught.value.hint or "")
    assert caught.value.location == image.location


def test_a_cache_that_is_not_a_directory(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("FLYTE_IMAGES_CACHE", "relative/path")
        with pytest.raises(SpecError) as caught:
            builds(debian("bad").with_pip_packages(f"{WORD}-alpha"))
    assert "FLYTE_IMAGES_CACHE" in str(caught.value) and caught.value.hint


def test_one_bad_image_of_several_ends_all_builds_with_its_error(builds: Builds) -> None:
    images = {
        "one": debian("bad-one").with_commands([f"echo {WORD}; sleep 20"]),
        "two": debian("bad-two").with_pip_packages(f"{WORD}-nowhere"),
    }
    with pytest.raises(ResolveError) as caught:
        builds.together(images)
    assert f"{WORD}-nowhere was not found" in str(caught.value)
    assert caught.value.location == images["two"].layers[0].location


def test_damage_in_the_cache_is_repaired(builds: Builds, cache: Path, tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "a.py").write_text(f"{WORD} = 1\n")
    image = debian("damaged").with_pip_packages(f"{WORD}-alpha").with_source_folder(source, "/app", True)
    first, _ = builds(image)
    docker("image", "rm", "--force", first.ref)
    for folder in ("resolved", "context", "oci/contexts"):
        for path in (cache / folder).rglob("*"):
            if path.is_file():
                path.write_bytes(b"damaged")
    again, _ = builds(image)
    assert again.digest == first.digest
    assert json.loads(docker("image", "inspect", again.ref))[0]["Id"] == first.digest
