"""Stand-in device nodes with NVIDIA's real numbers, and an image for tasks that look at them."""

from __future__ import annotations

import os
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return an image of Docker with Debian's busybox."""
    place = tmp_path_factory.mktemp("busybox")
    subprocess.run(("apt-get", "download", "-qq", "busybox-static"), cwd=place, check=True, capture_output=True)
    (package,) = place.glob("*.deb")
    subprocess.run(("dpkg", "-x", package, place / "root"), check=True)
    (program,) = (path for path in (place / "root").rglob("busybox") if path.is_file() and path.parent.name == "bin")
    with tarfile.open(place / "image.tar", "w") as tar:
        tar.add(program, "bin/busybox")
        for applet in ("sh", "cat", "ls", "mknod", "env", "sleep"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    name = f"flyte-images-test-gpu:{secrets.token_hex(4)}"
    subprocess.run(("docker", "import", place / "image.tar", name), check=True, capture_output=True)
    yield name
    subprocess.run(("docker", "image", "rm", "-f", name), check=True, capture_output=True)


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    """Make two cards and their shared nodes. No driver answers: a process that may open a node gets ENXIO."""
    directory = tmp_path / "dev"
    directory.mkdir()
    for name, minor in (("nvidia0", 0), ("nvidia1", 1), ("nvidiactl", 255)):
        os.mknod(directory / name, 0o020666, os.makedev(195, minor))
        (directory / name).chmod(0o666)
    return directory
