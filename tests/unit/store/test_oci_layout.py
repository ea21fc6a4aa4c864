"""The names of blobs in an OCI layout always fit their contents."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flyte_images.errors import EngineError, FlyteImagesError
from flyte_images.store.oci_layout import CONFIG, LAYER_TAR, MANIFEST, Descriptor, Layer, Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "cache" / "oci")


def _image(layout: Layout) -> Descriptor:
    blob = layout.put_blob(b"layer", LAYER_TAR)
    return layout.put_image([Layer(blob, blob.digest)], {"architecture": "amd64", "os": "linux"})


def test_a_blob_is_named_by_its_content(layout: Layout) -> None:
    blob = layout.put_blob(b"hello", LAYER_TAR)
    assert blob == Descriptor(LAYER_TAR, f"sha256:{hashlib.sha256(b'hello').hexdigest()}", 5)
    assert layout.has(blob.digest)
    assert layout.read(blob.digest) == b"hello"


def test_a_file_and_its_bytes_are_the_same_blob(layout: Layout, tmp_path: Path) -> None:
    file = tmp_path / "file"
    data = bytes(range(256)) * 9000
    file.write_bytes(data)
    assert layout.put_file(file, LAYER_TAR) == layout.put_blob(data, LAYER_TAR)
    assert file.read_bytes() == data


def test_the_same_image_has_the_same_digest_however_its_configuration_was_written(layout: Layout) -> None:
    blob = layout.put_blob(b"layer", LAYER_TAR)
    layers = [Layer(blob, blob.digest)]
    one = layout.put_image(layers, {"architecture": "amd64", "os": "linux"})
    assert one == layout.put_image(layers, {"os": "linux", "architecture": "amd64"})
    assert one.media_type == MANIFEST
    assert layout.config(one.digest)["rootfs"] == {"type": "layers", "diff_ids": [blob.digest]}
    assert layout.manifest(one.digest)["layers"] == [blob.json()]


def test_other_tools_find_a_layout(layout: Layout) -> None:
    _image(layout)
    assert json.loads((layout.directory / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((layout.directory / "index.json").read_text())["manifests"] == []


def test_an_existing_index_is_kept(layout: Layout) -> None:
    layout.directory.mkdir(parents=True)
    (layout.directory / "index.json").write_text("another's")
    _image(layout)
    assert (layout.directory / "index.json").read_text() == "another's"


@pytest.mark.parametrize("damage", [b"", b"lay", b"LAYER"])
def test_a_damaged_blob_is_refused_and_repaired_by_writing_it_again(layout: Layout, damage: bytes) -> None:
    blob = layout.put_blob(b"layer", LAYER_TAR)
    layout.path(blob.digest).write_bytes(damage)
    with pytest.raises(FlyteImagesError, match=blob.digest.removeprefix("sha256:")):
        layout.read(blob.digest)
    assert layout.put_blob(b"layer", LAYER_TAR) == blob
    assert layout.read(blob.digest) == b"layer"


def test_an_image_is_complete_until_a_blob_is_missing_or_truncated(layout: Layout) -> None:
    image = _image(layout)
    assert layout.complete(image.digest)
    parts = [layout.manifest(image.digest)["config"], *layout.manifest(image.digest)["layers"]]
    for digest in (image.digest, *(part["digest"] for part in parts)):
        whole = layout.path(digest).read_bytes()
        layout.path(digest).write_bytes(whole[:-1])
        assert not layout.complete(image.digest)
        layout.path(digest).unlink()
        assert not layout.complete(image.digest)
        layout.path(digest).write_bytes(whole)
    assert layout.complete(image.digest)


@pytest.mark.parametrize("text", [b"[]", b"{}", b"layer", b'{"config": 1, "layers": []}'])
def test_a_blob_that_is_not_a_manifest_is_not_an_image(layout: Layout, text: bytes) -> None:
    assert not layout.complete(layout.put_blob(text, MANIFEST).digest)


def test_an_image_of_a_missing_layer_is_refused(layout: Layout) -> None:
    nowhere = Descriptor(LAYER_TAR, "sha256:" + "0" * 64, 3)
    with pytest.raises(FlyteImagesError, match=nowhere.digest):
        layout.put_image([Layer(nowhere, nowhere.digest)], {})


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:../../../etc/passwd", "md5:" + "0" * 64, "sha256:" + "G" * 64]
)
def test_a_text_that_is_not_a_digest_names_no_file(layout: Layout, digest: str) -> None:
    with pytest.raises(FlyteImagesError, match="not a sha256 digest"):
        layout.path(digest)


def test_a_directory_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FlyteImagesError, match="cannot be written: Not a directory") as caught:
        Layout(tmp_path / "file" / "oci").put_blob(b"x", CONFIG)
    assert "FLYTE_IMAGES_CACHE" in str(caught.value.hint)


def test_a_source_that_fails_leaves_nothing(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        layout.put_file(tmp_path, LAYER_TAR)
    layout.put_blob(b"x", LAYER_TAR)
    assert not list(layout.directory.rglob(".partial*"))


PUT_MANY = """
import sys
from pathlib import Path
from flyte_images.store.oci_layout import LAYER_TAR, Layout
for number in range(20):
    print(Layout(Path(sys.argv[1])).put_blob(b"%d" % number * 1000, LAYER_TAR).digest)
"""


def test_many_processes_write_the_same_blobs_at_once(layout: Layout) -> None:
    argv = (sys.executable, "-c", PUT_MANY, str(layout.directory))
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert len(said[0].split()) == 20
    assert set(said) == {said[0]}
    for digest in said[0].split():
        layout.read(digest)
    assert not list(layout.directory.rglob(".partial*"))


def test_an_index_keeps_one_manifest_a_name_with_many_writers(tmp_path: Path) -> None:
    def put(number: int) -> None:
        descriptor = {"mediaType": "m", "digest": f"sha256:{number}", "size": number, "platform": {}}
        Layout(tmp_path).put_name(descriptor, tag=f"t{number % 4}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(40)))
    assert {path.name for path in tmp_path.iterdir()} == {"index.json", "oci-layout"}
    found = [Layout(tmp_path).tagged(f"t{number}") for number in range(4)]
    assert all(it is not None and int(it["size"]) % 4 == number for number, it in enumerate(found))
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(EngineError, match="is damaged"):
        Layout(tmp_path).tagged("t0")


def test_the_tarball_is_an_oci_layout(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    digest = _image(layout).digest
    layer = layout.manifest(digest)["layers"][0]["digest"]
    with tarfile.open(fileobj=io.BytesIO(b"".join(layout.archive(digest, "docker.io/library/x:1")))) as tar:
        files = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        held = {name: file.read() for name, file in files.items() if file is not None}
    (described,) = json.loads(held["index.json"])["manifests"]
    assert (described["digest"], described["annotations"]) == (
        digest,
        {"io.containerd.image.name": "docker.io/library/x:1"},
    )
    manifest = json.loads(held[f"blobs/sha256/{digest.removeprefix('sha256:')}"])
    assert manifest["config"]["mediaType"] == CONFIG
    assert held[f"blobs/sha256/{layer.removeprefix('sha256:')}"] == b"layer"
