"""A lock names files by hash; their addresses come from the cache of this machine or from the index."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from flyte_images.buildkit.build_context import BuildContext
from flyte_images.buildkit.client import Client
from flyte_images.errors import ResolveError
from flyte_images.image import Image
from flyte_images.plan.lock import Lock
from flyte_images.plan.model import packages
from flyte_images.plan.planner import plan
from flyte_images.resolve import addresses
from flyte_images.resolve.resolver import resolve
from tests.fakes import values
from tests.fakes.package_index import Index, serve

IMAGE = Image.from_debian_base("3.11", platform="linux/amd64").with_pip_packages("alpha").with_env_vars({"A": "1"})
Find = Callable[..., Lock]


def no_engine() -> Client:
    raise AssertionError("no engine is needed for Python packages")


@pytest.fixture
def found(environ: dict[str, str]) -> Lock:
    """A lock as resolve() returns it."""
    return resolve(
        IMAGE,
        BuildContext(environ=environ, connect=no_engine),
        platform="linux/amd64",
        base=values.BASE,
        toolchain=values.BASE,
        contents=values.contents(IMAGE),
    )


@pytest.fixture
def bare(found: Lock) -> Lock:
    """The same lock as read from a file: without addresses."""
    layers = (
        dataclasses.replace(layer, wheels=tuple(dataclasses.replace(it, url="") for it in layer.wheels))
        for layer in found.layers
    )
    return dataclasses.replace(found, layers=tuple(layers))


@pytest.fixture
def find(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Find:
    """Find the addresses on another machine, whose cache is empty."""
    elsewhere = str(tmp_path_factory.mktemp("elsewhere"))

    def run(lock: Lock, **env: str) -> Lock:
        context = BuildContext(environ={**environ, "FLYTE_IMAGES_CACHE": elsewhere, **env}, connect=no_engine)
        return addresses.find(lock, IMAGE, context, platform="linux/amd64")

    return run


DEAD = {"UV_DEFAULT_INDEX": "http://127.0.0.1:1/simple"}


def test_the_index_is_asked_for_exactly_these_files(bare: Lock, found: Lock, find: Find) -> None:
    assert find(bare) == found


def test_known_addresses_are_not_asked_again(bare: Lock, found: Lock, find: Find) -> None:
    find(bare)
    assert find(bare, **DEAD) == found


def test_another_mirror_with_the_same_files_is_accepted(bare: Lock, find: Find, shelf: Index) -> None:
    with serve(Index(files=shelf.files, metadata=shelf.metadata)) as mirror:
        again = find(bare, UV_DEFAULT_INDEX=mirror.url)
        assert {it.url.partition("/files/")[0] for it in again.wheels().values()} == {f"http://{mirror.address}"}
        assert again == bare  # nothing that decides the image is another


def test_an_index_with_other_files_of_that_version_is_refused(bare: Lock, find: Find) -> None:
    with serve(Index()) as other:
        other.add("alpha", "1.1", {"alpha.py": "another"})
        other.add("beta", "1.5", {"beta.py": "another"})
        with pytest.raises(ResolveError) as caught:
            find(bare, UV_DEFAULT_INDEX=other.url)
    assert "no index offers the locked file with sha256" in str(caught.value)
    assert "lock --upgrade" in (caught.value.hint or "")


def test_an_index_that_does_not_answer_is_an_error(bare: Lock, find: Find) -> None:
    with pytest.raises(ResolveError) as caught:
        find(bare, **DEAD)
    assert "127.0.0.1:1" in str(caught.value)


def test_addresses_of_a_mirror_that_is_gone_are_replaced(found: Lock, environ: dict[str, str], shelf: Index) -> None:
    gone = dataclasses.replace(
        found,
        layers=tuple(
            dataclasses.replace(
                layer,
                wheels=tuple(dataclasses.replace(it, url=f"http://gone.test/{it.filename}") for it in layer.wheels),
            )
            for layer in found.layers
        ),
    )
    old = plan(IMAGE, lock=gone, platform="linux/amd64", contents=values.contents(IMAGE))
    new = addresses.fresh(old, IMAGE, environ)
    assert new.digest == old.digest
    assert {it.url for it in packages(new)} == {it.url for it in found.wheels().values()}
    assert all(it.url.startswith(f"http://{shelf.address}/") for it in packages(new))


def test_files_that_no_index_offers_keep_their_address(found: Lock, environ: dict[str, str]) -> None:
    old = plan(IMAGE, lock=found, platform="linux/amd64", contents=values.contents(IMAGE))
    with serve(Index()) as empty:
        new = addresses.fresh(old, IMAGE, {**environ, "UV_DEFAULT_INDEX": empty.url})
    assert [it.url for it in packages(new)] == [it.url for it in packages(old)]
