"""The records of the images that bases were found to be, and of the bases that were made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_images.bootstrap.base_image import BaseImage
from flyte_images.bootstrap.base_record import record_base, recorded_base
from flyte_images.bootstrap.catalog import BootstrappedBase, Package, Release, list_bases, newest, save
from flyte_images.errors import FlyteImagesError
from flyte_images.store.cache_dir import layout_dir
from flyte_images.store.oci_layout import LAYER_GZIP, Layer, Layout
from flyte_images_layers import DebianBase, ReferenceBase

DEBIAN = DebianBase(python="3.11")
PLATFORM = "linux/amd64"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache")}


def base(environ: dict[str, str], content: bytes = b"layer", *, made: str = "2026-01-02T00:00:00") -> BootstrappedBase:
    """A base whose one layer is not a file system; these tests read blobs only."""
    layout = Layout(layout_dir(environ))
    blob = layout.put_blob(content, LAYER_GZIP)
    config = {"architecture": "amd64", "os": "linux", "config": {"Env": ["A=1"]}}
    manifest = layout.put_image([Layer(blob, "sha256:" + "0" * 64)], config)
    found = BootstrappedBase(
        suite="bookworm",
        python="3.11",
        architecture="amd64",
        manifest=manifest,
        config=layout.manifest(manifest.digest)["config"]["digest"],
        size=blob.size,
        created="2025-12-01T00:00:00Z",
        made=made,
        releases=(Release(suite="bookworm", date="2026-01-01T00:00:00Z", sha256="ab", lists=("cd", "ef")),),
        packages=(Package(name="libc6", version="2.36-9+deb12u9", architecture="amd64", sha256="12"),),
    )
    save(found, environ=environ)
    return found


def layer_of(made: BootstrappedBase, environ: dict[str, str]) -> Path:
    layout = Layout(layout_dir(environ))
    return layout.path(layout.manifest(made.manifest.digest)["layers"][0]["digest"])


def registry(reference: str = "registry.test/a:1") -> BaseImage:
    digest = "sha256:" + "1" * 64
    return BaseImage(
        origin="registry",
        reference=f"{reference}@{digest}",
        digest=digest,
        config="{}",
        description=reference,
    )


def test_a_recorded_base_is_found(environ: dict[str, str]) -> None:
    found = base(environ).base_image(environ=environ)
    assert recorded_base(DEBIAN, PLATFORM, environ) is None
    record_base(DEBIAN, PLATFORM, found, environ=environ)
    assert recorded_base(DEBIAN, PLATFORM, environ) == found
    assert (found.reference, found.libc) == (f"local/debian-bookworm@{found.digest}", "2.36")
    assert json.loads(found.config)["config"] == {"Env": ["A=1"]}


def test_a_record_is_for_one_base_on_one_platform(environ: dict[str, str]) -> None:
    record_base(DEBIAN, PLATFORM, registry(), environ=environ)
    assert recorded_base(DEBIAN, "linux/arm64", environ) is None
    assert recorded_base(DebianBase(python="3.12"), PLATFORM, environ) is None
    assert recorded_base(ReferenceBase(reference="3.11"), PLATFORM, environ) is None


@pytest.mark.parametrize("harm", [b"", b"short", None])
def test_a_base_whose_layer_is_damaged_or_gone_is_not_found(environ: dict[str, str], harm: bytes | None) -> None:
    made = base(environ)
    record_base(DEBIAN, PLATFORM, made.base_image(environ=environ), environ=environ)
    layer = layer_of(made, environ)
    layer.unlink() if harm is None else layer.write_bytes(harm[:4])
    assert recorded_base(DEBIAN, PLATFORM, environ) is None
    assert list_bases(environ) == []


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"format": 0}', '{"format": 2, "wanted": [], "found": {}}'])
def test_a_damaged_record_counts_as_missing(environ: dict[str, str], text: str) -> None:
    record_base(DEBIAN, PLATFORM, registry(), environ=environ)
    (record,) = (Path(environ["FLYTE_IMAGES_CACHE"]) / "bases").iterdir()
    record.write_text(text)
    assert recorded_base(DEBIAN, PLATFORM, environ) is None
    record_base(DEBIAN, PLATFORM, registry(), environ=environ)
    assert recorded_base(DEBIAN, PLATFORM, environ) == registry()


def test_a_cache_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FlyteImagesError, match="cannot be written") as raised:
        record_base(DEBIAN, PLATFORM, registry(), environ={"FLYTE_IMAGES_CACHE": str(tmp_path / "file")})
    assert "FLYTE_IMAGES_CACHE" in str(raised.value.hint)


def test_bases_are_listed_newest_first(environ: dict[str, str]) -> None:
    old = base(environ, b"old", made="2026-01-02T00:00:00")
    new = base(environ, b"new", made="2026-03-02T00:00:00")
    assert list_bases(environ) == [new, old]
    assert newest(environ, python="3.11", architecture="amd64") == new
    assert newest(environ, python="3.11", architecture="arm64") is None
    layer_of(new, environ).unlink()
    assert newest(environ, python="3.11", architecture="amd64") == old


def test_the_same_base_made_again_is_one_base(environ: dict[str, str]) -> None:
    first = base(environ)
    again = replace(first, made="2026-05-01T00:00:00")
    save(again, environ=environ)
    assert list_bases(environ) == [again]


def test_a_damaged_record_does_not_hide_other_bases(environ: dict[str, str]) -> None:
    made = base(environ)
    folder = Path(environ["FLYTE_IMAGES_CACHE"]) / "bases"
    (folder / "made-x.json").write_text('{"format": 1, "releases": 3}')
    (folder / "made-y.json").write_bytes(b"\xff")
    assert list_bases(environ) == [made]
