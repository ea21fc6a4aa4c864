"""Resolving an image: nothing is asked twice, a file belongs to the first layer that needs it, errors have a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_images.buildkit.build_context import BuildContext
from flyte_images.buildkit.client import Client
from flyte_images.errors import FlyteImagesError, Location, ResolveError
from flyte_images.image import Image
from flyte_images.plan.lock import Lock, Overlap
from flyte_images.resolve.resolver import request, resolve
from tests.fakes import values
from tests.fakes.package_index import Index, serve

Resolve = Callable[..., Lock]


def debian(name: str | None = None) -> Image:
    return Image.from_debian_base("3.11", platform="linux/amd64", name=name)


def no_engine() -> Client:
    raise AssertionError("no engine is needed for Python packages")


@pytest.fixture
def locked(environ: dict[str, str]) -> Resolve:
    def run(image: Image, *, notes: list[str] | None = None, upgrade: bool = False, **env: str) -> Lock:
        context = BuildContext(
            environ={**environ, **env},
            connect=no_engine,
            note=(notes if notes is not None else []).append,
            upgrade=upgrade,
        )
        return resolve(
            image,
            context,
            platform="linux/amd64",
            base=values.BASE,
            toolchain=values.BASE,
            contents=values.contents(image),
        )

    return run


def names(lock: Lock) -> list[list[str]]:
    return [[f"{it.name} {it.version}" for it in layer.wheels] for layer in lock.layers]


DEAD = {"UV_DEFAULT_INDEX": "http://127.0.0.1:1/simple"}


def test_a_cached_result_is_not_asked_again(locked: Resolve, shelf: Index) -> None:
    image = debian().with_pip_packages("alpha")
    notes: list[str] = []
    first = locked(image, notes=notes)
    assert notes == ["resolving alpha"]
    seen = len(shelf.requests)
    assert locked(image, notes=notes, **DEAD) == first
    assert notes == ["resolving alpha"] and len(shelf.requests) == seen


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.with_env_vars({"A": "1"}),
        lambda image: image.with_workdir("/x"),
        lambda image: image.with_commands(["true"]),
        lambda image: image.with_source_file(__file__),
        lambda image: image.clone(name="other", registry="registry.test"),
    ],
)
def test_layers_without_packages_ask_no_index(locked: Resolve, change: Callable[[Image], Image]) -> None:
    image = debian().with_pip_packages("alpha")
    first = locked(image)
    again = locked(change(image), **DEAD)
    assert again.wheels() == first.wheels()


def test_an_image_without_packages_asks_no_index(locked: Resolve) -> None:
    assert names(locked(debian().with_env_vars({"A": "1"}), **DEAD)) == [[]]


def test_a_file_belongs_to_the_first_layer_that_needs_it(locked: Resolve) -> None:
    image = debian().with_pip_packages("beta").with_env_vars({"A": "1"}).with_pip_packages("alpha")
    assert names(locked(image)) == [["beta 1.5"], [], ["alpha 1.1"]]
    image = debian().with_pip_packages("alpha").with_pip_packages("beta<1.5")
    assert names(locked(image)) == [["alpha 1.1", "beta 1.0"], []]


def test_all_layers_are_resolved_together(locked: Resolve) -> None:
    with pytest.raises(ResolveError) as caught:
        locked(debian().with_pip_packages("alpha").with_pip_packages("gamma"))
    assert "cannot resolve alpha, gamma" in str(caught.value)


def test_an_upgrade_asks_again(locked: Resolve) -> None:
    with serve(Index()) as index:
        index.add("delta", "1.0")
        image = debian().with_pip_packages("delta")
        assert names(locked(image, UV_DEFAULT_INDEX=index.url)) == [["delta 1.0"]]
        index.add("delta", "1.1")
        assert names(locked(image, UV_DEFAULT_INDEX=index.url)) == [["delta 1.0"]]
        env = {"UV_DEFAULT_INDEX": index.url, "UV_CACHE_DIR": "/nonexistent", "UV_NO_CACHE": "1"}
        assert names(locked(image, upgrade=True, **env)) == [["delta 1.1"]]
        assert names(locked(image, **DEAD)) == [["delta 1.1"]]


def test_another_package_leaves_the_versions_of_the_others(locked: Resolve) -> None:
    with serve(Index()) as index:
        for name in ("delta", "epsilon"):
            index.add(name, "1.0")
        env = {"UV_DEFAULT_INDEX": index.url, "UV_NO_CACHE": "1"}
        assert names(locked(debian("app").with_pip_packages("delta"), **env)) == [["delta 1.0"]]
        index.add("delta", "1.1")
        found = locked(debian("app").with_pip_packages("delta", "epsilon"), **env)
        assert names(found) == [["delta 1.0", "epsilon 1.0"]]


def records(environ: dict[str, str]) -> list[Path]:
    return [path for path in Path(environ["FLYTE_IMAGES_CACHE"]).rglob("*") if path.is_file()]


@pytest.mark.parametrize("damage", [b"{", b"{}", b"[[]]", b'[{"wheels": [{"name": 1}]}]'])
def test_a_damaged_record_is_resolved_again(locked: Resolve, environ: dict[str, str], damage: bytes) -> None:
    image = debian().with_pip_packages("alpha")
    first = locked(image)
    for file in records(environ):
        file.write_bytes(damage)
    assert locked(image) == first


def test_a_cache_that_cannot_be_written_only_costs_time(locked: Resolve, environ: dict[str, str]) -> None:
    Path(environ["FLYTE_IMAGES_CACHE"]).write_text("a file")
    assert names(locked(debian().with_pip_packages("beta"))) == [["beta 1.5"]]


def test_a_login_is_in_no_record(locked: Resolve, environ: dict[str, str]) -> None:
    with serve(Index(login=("robot", "s3cret"))) as guarded:
        guarded.add("beta", "1.5")
        locked(debian().with_pip_packages("beta"), UV_DEFAULT_INDEX=guarded.url_with_login)
    held = [file.read_bytes() for file in records(environ)]
    assert held
    assert not [data for data in held if b"s3cret" in data or b"robot" in data]


def test_an_error_names_the_line_of_the_packages(locked: Resolve) -> None:
    image = debian().with_env_vars({"A": "1"}).with_pip_packages("nothing").with_workdir("/x")
    with pytest.raises(ResolveError) as caught:
        locked(image)
    assert caught.value.location == image.layers[1].location
    assert isinstance(caught.value.location, Location) and caught.value.location.file == __file__


def test_a_valid_request_succeeds_after_an_error(locked: Resolve) -> None:
    with pytest.raises(FlyteImagesError):
        locked(debian().with_pip_packages("alpha", "alpha==9"))
    assert names(locked(debian().with_pip_packages("alpha"))) == [["alpha 1.1", "beta 1.5"]]


def test_a_request_covers_the_requirements_only() -> None:
    def of(image: Image, platform: str = "linux/amd64") -> str:
        return request(image, platform=platform)

    image = debian().with_pip_packages("alpha").with_apt_packages("git")
    assert of(image) == of(
        debian("other").with_pip_packages("ALPHA").with_env_vars({"A": "1"}).with_apt_packages("git")
    )
    others = [
        of(image),
        of(image, "linux/arm64"),
        of(image.clone(python_version="3.12")),
        of(image.clone(base_image="registry.test/base:1")),
        of(debian().with_pip_packages("alpha", pre=True).with_apt_packages("git")),
        of(debian().with_pip_packages("alpha", index_url="https://index.test/simple").with_apt_packages("git")),
        of(debian().with_pip_packages("alpha").with_pip_packages("git")),
        of(debian().with_apt_packages("git").with_pip_packages("alpha")),
    ]
    assert len(set(others)) == len(others)


def test_overlaps_of_packages_are_locked_and_reported(locked: Resolve) -> None:
    with serve(Index()) as index:
        index.add("cv", files={"cv/__init__.py": "1", "cv/more.py": "1"}, requires=["low"])
        index.add("cv-headless", files={"cv/__init__.py": "2", "cv/more.py": "2"})
        index.add("low", files={"cv/__init__.py": "3"})
        image, notes = debian().with_pip_packages("cv", "cv-headless"), list[str]()
        first = locked(image, notes=notes, UV_DEFAULT_INDEX=index.url)
    overlap = Overlap(packages=("low", "cv-headless", "cv"), paths=("cv/__init__.py", "cv/more.py"), count=2)
    assert first.overlaps == (overlap,) and str(overlap) in notes
    assert locked(image, **DEAD) == first


def test_unknown_contents_are_reported(locked: Resolve) -> None:
    with serve(Index(parts=False)) as index:
        index.add("huge", files={"huge/noise": bytes(range(256)) * 8192})
        content = index.files["huge"]["huge-1.0-py3-none-any.whl"]
        index.files["huge"]["huge-1.0-py3-none-any.whl"] = content.ljust(2 << 20, b"x")
        notes: list[str] = []
        found = locked(debian().with_pip_packages("huge"), notes=notes, UV_DEFAULT_INDEX=index.url)
    assert found.overlaps == ()
    assert "cannot check huge for files that other packages hold too: their contents are unknown" in notes
