"""The images that all contenders start from, made without a registry: a Debian with Python, and uv alone."""

from __future__ import annotations

import io
import os
import ssl
import subprocess
import tarfile
from pathlib import Path

from .engine import Engine

_SUITE = "bookworm"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def prepare_images(engine: Engine, directory: Path, *, base: str, uv_image: str, uv: str) -> None:
    """Give the engine `base` and `uv_image`, unpacked and ready; what it has already is taken as it is."""
    have = engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    if base not in have:
        archive = _debian(directory)
        changes = (f"ENV SSL_CERT_FILE={_BUNDLE}", "ENV LANG=C.UTF-8", 'CMD ["python3"]')
        engine.docker("import", *(f"--change={change}" for change in changes), str(archive), base)
    if uv_image not in have:
        engine.docker("import", "-", uv_image, input=_uv_alone(Path(uv)))
    engine.docker("run", "--rm", "--network=none", base, "python3", "-c", "pass")  # unpacked from here on


def _debian(directory: Path) -> Path:
    """Debian with Python and this machine's CA bundle, as a tar."""
    archive = directory / f"{_SUITE}.tar"
    if archive.exists():
        return archive
    bundle = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or _BUNDLE
    partial = archive.with_suffix(".partial.tar")
    argv = (
        *("mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates,python3,python3-venv"),
        *(f"--customize-hook=upload {bundle} {_BUNDLE}", _SUITE, str(partial)),
    )
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mmdebstrap failed:\n{done.stderr[-2000:]}")
    return partial.rename(archive)


def _uv_alone(program: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(program.resolve(), "uv")
    return packed.getvalue()
