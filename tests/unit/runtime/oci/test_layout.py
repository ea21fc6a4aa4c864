"""Layers of an OCI layout become directories for overlay, and nothing is written outside them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from flyte_images_runtime.errors import ImageCannotStart
from flyte_images_runtime.oci.images import Images
from flyte_images_runtime.oci.layout import find

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="files of other users can be made by root alone")
Entry = tuple[str, str, bytes | str, int]


class Layout:
    """An OCI layout made here, layer by layer."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.layers: list[dict[str, str]] = []
        self.diffs: list[str] = []
        (place / "blobs/sha256").mkdir(parents=True)

    def blob(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        (self.place / "blobs/sha256" / name).write_bytes(data)
        return f"sha256:{name}"

    def layer(self, *entries: Entry, compress: str = "none") -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for kind, name, content, mode in entries:
                member = tarfile.TarInfo(name)
                member.mode, member.mtime, member.uid, member.gid = mode, 1_600_000_000, 7, 8
                member.type = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE}[
                    kind
                ]
                if isinstance(content, str):
                    member.linkname = content
                    content = b""
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        data = buffer.getvalue()
        self.diffs.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
        packed = {"none": lambda: data, "gzip": lambda: gzip.compress(data), "zstd": lambda: _zstd(data)}[compress]()
        self.layers.append({"digest": self.blob(packed), "mediaType": compress})

    def reference(self) -> str:
        rootfs = {"type": "layers", "diff_ids": self.diffs}
        config = {"architecture": "amd64", "config": {"Env": ["A=1"], "WorkingDir": "/w"}, "rootfs": rootfs}
        manifest = {"config": {"digest": self.blob(json.dumps(config).encode())}, "layers": self.layers}
        digest = self.blob(json.dumps(manifest).encode())
        (self.place / "index.json").write_text(json.dumps({"manifests": [{"digest": digest}]}))
        return f"oci-layout:{self.place}"


def _zstd(data: bytes) -> bytes:
    return subprocess.run(("zstd", "-q"), input=data, stdout=subprocess.PIPE, check=True).stdout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


@pytest.mark.parametrize("compress", ["none", "gzip", "zstd"])
def test_a_layer_is_unpacked_as_it_was(layout: Layout, tmp_path: Path, compress: str) -> None:
    if compress == "zstd" and shutil.which("zstd") is None:
        pytest.skip("no zstd here to make one")
    layout.layer(
        ("d", "./", b"", 0o755),
        ("d", "bin", b"", 0o700),
        ("f", "bin/tool", b"#!", 0o4755),
        ("l", "bin/link", "/etc/passwd", 0o777),
        ("h", "bin/hard", "bin/tool", 0o4755),
        compress=compress,
    )
    rootfs = find(layout.reference(), tmp_path / "store")
    (root,) = map(Path, rootfs.layers)
    tool = (root / "bin/tool").lstat()
    assert (stat.S_IMODE(tool.st_mode), tool.st_uid, tool.st_gid, tool.st_mtime) == (0o4755, 7, 8, 1_600_000_000)
    assert (root / "bin/link").readlink() == Path("/etc/passwd")
    assert (root / "bin/hard").samefile(root / "bin/tool")
    assert stat.S_IMODE((root / "bin").stat().st_mode) == 0o700
    assert (root / "bin").stat().st_mtime == 1_600_000_000
    assert (rootfs.env, rootfs.workdir, rootfs.architecture) == (("A=1",), "/w", "amd64")


def test_deletions_become_marks_of_overlay(layout: Layout, tmp_path: Path) -> None:
    layout.layer(("f", "d/a", b"", 0o644), ("f", "d/b", b"", 0o644), ("f", "e/c", b"", 0o644))
    layout.layer(("f", "d/.wh.a", b"", 0o644), ("f", "e/.wh..wh..opq", b"", 0o644), ("f", "e/n", b"", 0o644))
    upper, lower = map(Path, find(layout.reference(), tmp_path / "store").layers)
    mark = (upper / "d/a").lstat()
    assert stat.S_ISCHR(mark.st_mode)
    assert mark.st_rdev == 0
    assert os.getxattr(upper / "e", "trusted.overlay.opaque") == b"y"
    assert (lower / "d/b").exists()


def test_a_shared_layer_is_unpacked_once(layout: Layout, tmp_path: Path) -> None:
    layout.layer(("f", "a", b"shared", 0o644))
    first = find(layout.reference(), tmp_path / "store")
    layout.layer(("f", "b", b"own", 0o644))
    second = find(layout.reference(), tmp_path / "store")
    assert second.layers[1:] == first.layers
    assert len(list((tmp_path / "store/layers").iterdir())) == 2


def test_layers_stay_as_long_as_their_layout(layout: Layout, tmp_path: Path) -> None:
    layout.layer(("f", "a", b"content", 0o644))
    images = Images(tmp_path / "store")
    found = images.find(layout.reference())
    assert images.prune() == 0
    assert found.is_there()
    shutil.rmtree(layout.place)
    assert images.prune(grace=0) == 2  # the record and the layer
    assert not found.is_there()


@pytest.mark.parametrize(
    "entries",
    [
        [("f", "../escaped", b"", 0o644)],
        [("f", "a/../../escaped", b"", 0o644)],
        [("l", "out", "/tmp", 0o777), ("f", "out/escaped", b"", 0o644)],
        [("l", "d", "..", 0o777), ("d", "d/escaped", b"", 0o755)],
        [("h", "h", "../../../../etc/passwd", 0o644)],
        [("l", "s", "..", 0o777), ("h", "h", "s/layout/index.json", 0o644)],
        [("l", "s", "..", 0o777), ("f", "s/.wh..wh..opq", b"", 0o644)],
    ],
)
def test_nothing_is_written_beside_a_layer(layout: Layout, tmp_path: Path, entries: list[Entry]) -> None:
    layout.layer(*entries)
    reference = layout.reference()
    with pytest.raises(ImageCannotStart):
        find(reference, tmp_path / "store")
    assert not list(tmp_path.rglob("escaped"))
    assert list((tmp_path / "store/layers").iterdir()) == []


def test_a_damaged_layer_is_refused_and_not_kept(layout: Layout, tmp_path: Path) -> None:
    layout.layer(("f", "a", b"content", 0o644))
    reference = layout.reference()
    blob = layout.place / "blobs/sha256" / layout.layers[0]["digest"].removeprefix("sha256:")
    blob.write_bytes(blob.read_bytes().replace(b"content", b"CONTENT"))
    with pytest.raises(ImageCannotStart, match="damaged"):
        find(reference, tmp_path / "store")
    assert list((tmp_path / "store/layers").iterdir()) == []


@pytest.mark.parametrize("index", ["", "{}", '{"manifests": []}', '{"manifests": [{"digest": "sha256:x"}]}'])
def test_a_directory_that_is_not_a_layout_is_refused(tmp_path: Path, index: str) -> None:
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(ImageCannotStart) as refused:
        find(f"oci-layout:{tmp_path}", tmp_path / "store")
    assert refused.value.hint
