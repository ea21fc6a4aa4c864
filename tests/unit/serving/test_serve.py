"""The sources that this machine serves for a plan: packed by content, checked by hash, and errors with the line."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images.context import content_digests
from flyte_images.errors import BuildError, ResolveError
from flyte_images.image import Image
from flyte_images.plan.model import Files, Plan
from flyte_images.plan.planner import plan
from flyte_images.plan.sources import EngineFeatures
from flyte_images.serving.serve import serve_sources, session_for
from flyte_images.store.oci_layout import Layout
from flyte_images_layers.steps import Wheel
from tests.fakes import values
from tests.fakes.package_index import Index, serve, wheel_bytes

NAME = "alpha-1.0-py3-none-any.whl"


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(tmp_path / "cache"))
    return {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}


def debian() -> Image:
    return Image.from_debian_base("3.11", platform="linux/amd64")


def planned(image: Image, *wheels: Wheel) -> Plan:
    contents = [content_digests(layer) for layer in image.layers]
    return plan(image, lock=values.locked(image, wheels=wheels), platform="linux/amd64", contents=contents)


def blobs(environ: dict[str, str]) -> set[str]:
    folder = Path(environ["FLYTE_IMAGES_CACHE"]) / "oci" / "blobs" / "sha256"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "a.py").write_text("a")
    return folder


def test_local_files_are_packed_once_for_each_content_and_destination(source: Path, environ: dict[str, str]) -> None:
    image = (
        debian()
        .with_source_folder(source, "/app")
        .with_source_folder(source, "/other")
        .with_source_file(source / "a.py")
    )
    found = planned(image)
    source_map = serve_sources(image, found, environ=environ)
    bodies = [step.body for step in found.steps if isinstance(step.body, Files)]
    assert set(source_map.files) == {(body.content, body.destination) for body in bodies} and len(bodies) == 3
    before = blobs(environ)
    assert {name.partition("@sha256:")[2] for name in source_map.files.values()} <= before
    assert serve_sources(image, found, environ=environ) == source_map
    assert blobs(environ) == before


def test_a_file_that_changes_meanwhile_is_an_error(source: Path, environ: dict[str, str]) -> None:
    image = debian().with_source_folder(source, "/app")
    found = planned(image)
    (source / "a.py").write_text("b")
    with pytest.raises(BuildError, match="changed while it was read") as caught:
        serve_sources(image, found, environ=environ)
    assert str(source) in str(caught.value) and caught.value.hint == "build again when no program writes to it"
    assert caught.value.location == image.layers[0].location


def local(path: Path, *, sha256: str = "") -> Wheel:
    content = wheel_bytes("alpha", "1.0", {"alpha.py": "x"})
    found = sha256 or hashlib.sha256(content).hexdigest()
    return Wheel(name="alpha", version="1.0", filename=NAME, sha256=found, size=len(content), url=path.as_uri())


def test_a_wheel_of_this_machine_is_served(tmp_path: Path, environ: dict[str, str]) -> None:
    shelf = tmp_path / "a shelf"
    shelf.mkdir()
    (shelf / NAME).write_bytes(wheel_bytes("alpha", "1.0", {"alpha.py": "x"}))
    image, wheel = debian().with_pip_packages("alpha"), local(shelf / NAME)
    source_map = serve_sources(image, planned(image, wheel), environ=environ)
    assert list(source_map.packages) == [wheel.sha256]
    (shelf / NAME).unlink()
    with pytest.raises(ResolveError, match="cannot be read") as caught:
        serve_sources(image, planned(image, wheel), environ=environ)
    assert caught.value.location == image.layers[0].location


def test_a_wheel_of_this_machine_with_another_hash_is_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / NAME).write_bytes(b"another")
    image = debian().with_pip_packages("alpha")
    with pytest.raises(ResolveError, match="is not the file that alpha was resolved to") as caught:
        serve_sources(image, planned(image, local(tmp_path / NAME)), environ=environ)
    assert "--upgrade" in (caught.value.hint or "")


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index(login=("robot", "s3cret"))
    index.add("alpha", "1.0")
    with serve(index):
        yield index


def remote(index: Index) -> Wheel:
    content = index.files["alpha"][NAME]
    url = f"http://{index.address}/files/{NAME}"
    sha256 = hashlib.sha256(content).hexdigest()
    return Wheel(name="alpha", version="1.0", filename=NAME, sha256=sha256, size=len(content), url=url)


def test_the_engine_fetches_public_files(index: Index, environ: dict[str, str]) -> None:
    image = debian().with_pip_packages("alpha")
    assert serve_sources(image, planned(image, remote(index)), environ=environ).packages == {}
    assert index.requests == []


def test_a_file_behind_a_login_is_downloaded_and_served_without_the_login(
    index: Index, environ: dict[str, str]
) -> None:
    image, wheel = debian().with_pip_packages("alpha"), remote(index)
    private = {**environ, "UV_DEFAULT_INDEX": index.url_with_login}
    source_map = serve_sources(image, planned(image, wheel), environ=private)
    assert list(source_map.packages) == [wheel.sha256] and index.fetched == [NAME]
    files = [path for path in Path(environ["FLYTE_IMAGES_CACHE"]).rglob("*") if path.is_file()]
    assert not [path for path in files if b"s3cret" in path.read_bytes()]


def test_all_files_are_downloaded_when_the_engine_cannot_fetch(index: Index, environ: dict[str, str]) -> None:
    index.login = None
    image, wheel = debian().with_pip_packages("alpha"), remote(index)
    assert list(serve_sources(image, planned(image, wheel), environ=environ, serve_all=True).packages) == [wheel.sha256]


def test_an_engine_without_layouts_receives_the_layers_as_files(source: Path, environ: dict[str, str]) -> None:
    image = debian().with_source_folder(source, "/app")
    lock = values.locked(image, base=dataclasses.replace(values.BASE, origin="registry"), toolchain=None)
    contents = [content_digests(layer) for layer in image.layers]
    found = plan(image, lock=lock, platform="linux/amd64", contents=contents)
    source_map = serve_sources(image, found, environ=environ, features=EngineFeatures(merge=False, layouts=False))
    ((name, (layer,)),) = source_map.blobs.items()
    assert name in source_map.files.values()
    session = session_for(source_map, environ=environ)
    ((served, files),) = session.files.items()
    layout = Layout(Path(environ["FLYTE_IMAGES_CACHE"]) / "oci")
    assert files == {served: layout.path(layer)} and served == "blob-" + layer.removeprefix("sha256:")
