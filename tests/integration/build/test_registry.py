"""A pushed image is the same image; another package pushes one layer."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from flyte_images.errors import BuildError, EngineError, SpecError
from flyte_images.image import Image
from tests.fakes.registry import Registry, serve

from .conftest import WORD, Builds, debian, docker, run_in

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with serve(Registry()) as registry:
        yield registry


def image(registry: Registry, *more: str) -> Image:
    packages = (f"{WORD}-big", f"{WORD}-alpha", *more)
    return debian("pushed").clone(registry=f"{registry.address}/team").with_pip_packages(*packages)


def test_an_image_is_pushed_and_pulled(builds: Builds, registry: Registry) -> None:
    result, _ = builds(image(registry), push=True)
    name, _, tag = result.ref.removeprefix(f"{registry.address}/").rpartition(":")
    assert result.ref.startswith(f"{registry.address}/team/{WORD}-pushed:")
    assert f"{name}:{tag}" in registry.manifests
    assert f"{name}:{result.digest}" in registry.manifests
    docker("image", "rm", "--force", result.ref, check=False)
    docker("pull", "--quiet", result.ref)
    program = f"import {WORD}_big, {WORD}_alpha; print({WORD}_alpha.VERSION)"
    assert run_in(result, "python", "-c", program) == "1.0\n"


def test_another_package_pushes_one_layer(builds: Builds, registry: Registry) -> None:
    builds(image(registry), push=True)
    before = set(registry.blobs)
    builds(image(registry, f"{WORD}-gamma"), push=True)
    new = {digest: len(data) for digest, data in registry.blobs.items() if digest not in before}
    assert 0 < sum(new.values()) < 100_000
    assert sum(len(data) for data in registry.blobs.values()) > 1_500_000


def test_a_second_push_sends_no_blob(builds: Builds, registry: Registry) -> None:
    first, _ = builds(image(registry), push=True)
    before = set(registry.blobs)
    again, seen = builds(image(registry), push=True)
    assert again.digest == first.digest and set(registry.blobs) == before
    assert not [name for name in seen.ran if WORD in name]


def test_a_push_without_a_registry_is_an_error(builds: Builds) -> None:
    with pytest.raises(SpecError) as caught:
        builds(debian("nowhere"), push=True)
    assert "has no registry to push to" in str(caught.value)
    assert "registry=" in (caught.value.hint or "") and caught.value.location is not None


def test_a_refused_push_is_an_error_and_the_next_push_succeeds(builds: Builds) -> None:
    denied = Registry(fault=lambda method, path: 403 if method in ("POST", "PUT") else None)
    with serve(denied):
        described = image(denied).with_commands([f"echo {WORD} {secrets.token_hex(4)}"])
        with pytest.raises(BuildError) as caught:
            builds(described, push=True)
        assert "403" in str(caught.value) or "denied" in str(caught.value).lower()
        assert caught.value.hint
        denied.fault = lambda method, path: None
        result, _ = builds(described, push=True)
        assert f"{result.ref.removeprefix(denied.address + '/')}" in denied.manifests


def test_an_unreachable_registry_is_an_error(builds: Builds) -> None:
    with serve(Registry()) as gone:
        pass
    with pytest.raises((BuildError, EngineError)) as caught:
        builds(image(gone), push=True)
    assert gone.address in str(caught.value) and caught.value.hint
