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
    """Make a layout of an image with these files; all of them may be executed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for parent in ("bin", "tmp"):
            entry = tarfile.TarInfo(parent)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    layer = _put(directory, buffer.getvalue())
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _put(directory, json.dumps(config).encode())
        | {"mediaType": "application/vnd.oci.image.config.v1+json"},
        "layers": [layer | {"mediaType": "application/vnd.oci.image.layer.v1.tar"}],
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
