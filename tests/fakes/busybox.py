"""A base image for these tests: Debian's busybox, as a one-layer OCI layout that travels over the session."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path


def busybox_layout(directory: Path) -> str:
    """Make the layout and return the digest of its manifest."""
    subprocess.run(("apt-get", "download", "-qq", "busybox-static"), cwd=directory, check=True, capture_output=True)
    (package,) = directory.glob("busybox-static_*.deb")
    subprocess.run(("dpkg", "-x", package, directory / "root"), check=True)
    found = [path for path in (directory / "root").rglob("busybox") if path.is_file() and path.parent.name == "bin"]
    return image_layout(directory, {"bin/busybox": found[0].read_bytes()}, links={"bin/sh": "busybox"} | _applets())


def image_layout(directory: Path, files: dict[str, bytes], *, links: dict[str, str] | None = None) -> str:
    """Make a layout of an image with these files; all of them may be executed. Return the digest of its manifest."""
    return _image(directory, [_layer(directory, files, links or {})])


def add_layer(base: Path, digest: str, directory: Path, files: dict[str, bytes]) -> str:
    """Make a layout of the image `digest` of the layout `base` with one layer more."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifest = json.loads((base / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes())
    for layer in manifest["layers"]:
        name = layer["digest"].removeprefix("sha256:")
        (blobs / name).hardlink_to(base / "blobs" / "sha256" / name)
    return _image(directory, [*manifest["layers"], _layer(directory, files, {})])


def _layer(directory: Path, files: dict[str, bytes], links: dict[str, str]) -> dict[str, object]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return _put(directory, buffer.getvalue()) | {"mediaType": "application/vnd.oci.image.layer.v1.tar"}


def _image(directory: Path, layers: list[dict[str, object]]) -> str:
    """Put configuration and manifest; the layers are not compressed, so their digests are their contents'."""
    rootfs = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _put(directory, config) | {"mediaType": "application/vnd.oci.image.config.v1+json"},
        "layers": layers,
    }
    return str(_put(directory, json.dumps(manifest).encode())["digest"])


def _put(directory: Path, data: bytes) -> dict[str, object]:
    name = hashlib.sha256(data).hexdigest()
    blob = directory / "blobs" / "sha256" / name
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(data)
    return {"digest": f"sha256:{name}", "size": len(data)}


def _applets() -> dict[str, str]:
    return {
        f"bin/{name}": "busybox"
        for name in ("cat", "echo", "sleep", "head", "wc", "ls", "mkdir", "chmod", "dd", "id", "ln", "nc")
    }
