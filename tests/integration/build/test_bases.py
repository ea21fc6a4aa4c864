"""Images on other bases: small bases, bases with their own settings, and tags that move."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images.errors import BuildError, ResolveError
from flyte_images.image import Image
from tests.fakes.busybox import busybox_layout

from .conftest import WORD, Builds, docker, run_in

pytestmark = pytest.mark.engine

SMALL = f"{WORD}-small"


def put(layer: Path, name: str, *changes: str) -> None:
    """Give the engine an image of one layer."""
    words = [word for change in changes for word in ("--change", change)]
    docker("import", *words, str(layer), name)


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A busybox with a few applets, the smallest system with a shell."""
    directory = tmp_path_factory.mktemp("busybox")
    digest = busybox_layout(directory)
    blobs = directory / "blobs" / "sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_bytes())
    yield blobs / str(manifest["layers"][0]["digest"]).removeprefix("sha256:")
    for name in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split():
        if name.startswith(SMALL):
            docker("image", "rm", "--force", name)


def small(tag: str) -> Image:
    return Image.from_base(f"{SMALL}:{tag}", python_version="3.11", name=f"{WORD}-on-small")


def test_a_system_without_python_and_with_few_tools_is_enough(builds: Builds, layer: Path, tmp_path: Path) -> None:
    put(layer, f"{SMALL}:plain", "ENV OWN=base", "USER 7:7", 'ENTRYPOINT ["/bin/echo", "entry"]', "WORKDIR /work")
    (tmp_path / "note").write_text("hello")
    image = (
        small("plain")
        .with_env_vars({"MINE": "layer"})
        .with_source_file(tmp_path / "note", "/notes")
        .with_commands([f"echo {WORD} $OWN $MINE $(id -u) >/made", ["mkdir", "/by argv"]])
    )
    result, _ = builds(image)
    assert run_in(result) == "entry\n"  # what the base says is kept
    shell = ("run", "--rm", "--network=none", "--entrypoint", "/bin/sh", result.ref, "-c")
    assert docker(*shell, "cat /made /notes/note; id -u; ls -d '/by argv'; echo $PWD $PATH $OWN $MINE") == (
        f"{WORD} base layer 0\nhello7\n/by argv\n"
        "/work /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin base layer\n"
    )
    assert f"{SMALL}:plain" in result.base


def test_python_packages_on_a_base_without_python_are_an_error(builds: Builds, layer: Path) -> None:
    put(layer, f"{SMALL}:nopython")
    image = small("nopython").with_commands([f"echo {WORD}"]).with_pip_packages(f"{WORD}-alpha")
    with pytest.raises(BuildError) as caught:
        builds(image)
    assert "the base has no Python 3.11" in f"{caught.value}{caught.value.log}"
    assert caught.value.location == image.layers[1].location


def test_debian_packages_on_another_system_are_an_error(builds: Builds, layer: Path) -> None:
    put(layer, f"{SMALL}:noapt")
    image = small("noapt").with_apt_packages("tree")
    with pytest.raises(ResolveError) as caught:
        builds(image)
    assert "apt-get" in str(caught.value)
    assert caught.value.location == image.layers[0].location


def test_a_moved_tag_is_an_error(builds: Builds, layer: Path) -> None:
    put(layer, f"{SMALL}:moving", "ENV WHICH=first")
    image = small("moving").with_commands([f"echo {WORD} $WHICH >/which"])
    first, _ = builds(image)
    docker("image", "rm", "--force", f"{SMALL}:moving")
    put(layer, f"{SMALL}:moving", "ENV WHICH=second")
    again, seen = builds(image)  # the image of that description is there: nothing is asked
    assert again.digest == first.digest and seen.events == []
    with pytest.raises(ResolveError) as caught:
        builds(image.with_env_vars({"MORE": "1"}))
    assert f"{SMALL}:moving" in str(caught.value) and "--upgrade" in (caught.value.hint or "")
    newer, _ = builds(image, upgrade=True)
    assert newer.plan != first.plan
    assert docker("run", "--rm", "--network=none", newer.ref, "cat", "/which") == f"{WORD} second\n"


def test_a_removed_base_is_an_error(builds: Builds, layer: Path) -> None:
    put(layer, f"{SMALL}:gone")
    image = small("gone").with_env_vars({"A": "1"})
    builds(image)
    docker("image", "rm", "--force", f"{SMALL}:gone")
    with pytest.raises((ResolveError, BuildError)) as caught:
        builds(image.with_env_vars({"B": "2"}))
    assert f"{SMALL}:gone" in str(caught.value) and caught.value.hint
