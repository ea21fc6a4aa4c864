"""The places of an image's files: a directory, Docker's older store, or none."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from flyte_images_runtime.errors import ImageCannotStart
from flyte_images_runtime.oci import snapshots
from flyte_images_runtime.oci.images import Images, chain_id

LAYERS = [f"sha256:{letter * 64}" for letter in "abc"]


def _described(place: Path, *, driver: str = "overlay2") -> dict[str, Any]:
    for name in ("3", "2", "1"):
        (place / name).mkdir(exist_ok=True)
    data = {"UpperDir": str(place / "3"), "LowerDir": f"{place / '2'}:{place / '1'}"}
    config = {"Env": ["A=1"], "WorkingDir": "/app", "User": "me"}
    return {
        "Id": "sha256:1",
        "RootFS": {"Layers": LAYERS},
        "GraphDriver": {"Name": driver, "Data": data},
        "Config": config,
        "Architecture": "amd64",
    }


def test_docker_s_older_store_names_its_directories(tmp_path: Path) -> None:
    found = Images(tmp_path / "store", lambda _: _described(tmp_path)).find("app:1")
    assert found.layers == tuple(str(tmp_path / name) for name in ("3", "2", "1"))
    assert (found.env, found.workdir, found.user, found.architecture) == (("A=1",), "/app", "me", "amd64")


def test_a_record_is_used_while_the_directories_exist(tmp_path: Path) -> None:
    described = _described(tmp_path)
    images = Images(tmp_path / "store", lambda _: described)
    first = images.find("app:1")
    described["Config"] = {}  # the same image has the same configuration, so it is not read again
    assert images.find("other:name") == first
    (tmp_path / "1").rmdir()
    described["GraphDriver"]["Data"]["LowerDir"] = str(tmp_path / "2")
    assert images.find("app:1").layers == (str(tmp_path / "3"), str(tmp_path / "2"))


def test_an_unreachable_image_is_refused_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SOCKETS", ())
    with pytest.raises(ImageCannotStart, match="no containerd answers here"):
        Images(tmp_path / "store", lambda _: _described(tmp_path, driver="btrfs")).find("app:1")
    with pytest.raises(ImageCannotStart, match="no image app:1"):
        Images(tmp_path / "store", lambda _: None).find("app:1")
    with pytest.raises(ImageCannotStart, match="has no layers"):
        Images(tmp_path / "store", lambda _: {"Id": "x", "RootFS": {"Layers": None}}).find("app:1")
    with pytest.raises(ImageCannotStart, match="no image"):
        Images(tmp_path / "store").find("app:1")


def test_a_new_image_releases_removed_images(tmp_path: Path) -> None:
    known = {
        "old:1": {**_described(tmp_path), "Id": "sha256:old"},
        "new:1": {**_described(tmp_path), "Id": "sha256:new"},
    }
    by_id = {"sha256:old", "sha256:new"}
    images = Images(tmp_path / "store", lambda name: known.get(name) or ({} if name in by_id else None))
    images.find("old:1")
    by_id.remove("sha256:old")
    images.find("new:1")
    for thread in threading.enumerate():
        if thread.name == "flyte-images-prune":
            thread.join()
    (left,) = (tmp_path / "store").glob("*.json")
    assert "sha256:new" in left.read_text()


def test_a_damaged_record_is_removed(tmp_path: Path) -> None:
    images = Images(tmp_path / "store", lambda _: _described(tmp_path))
    images.find("app:1")
    for thread in threading.enumerate():
        if thread.name == "flyte-images-prune":
            thread.join()
    (tmp_path / "store/bad.json").write_text("{")
    assert images.prune() == 1
    assert [path.suffix for path in (tmp_path / "store").iterdir()] == [".json"]


def test_the_name_of_a_stack_is_the_specification_s() -> None:
    # the OCI image specification: ChainID(L0|L1) = sha256(ChainID(L0) + " " + DiffID(L1))
    assert chain_id(LAYERS[:1]) == LAYERS[0]
    assert chain_id(LAYERS[:2]) == "sha256:" + _sha256(f"{LAYERS[0]} {LAYERS[1]}")


def _sha256(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()
