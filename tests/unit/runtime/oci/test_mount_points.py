"""Mount points are made where the image lacks them, and hide nothing of the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flyte_images_runtime.oci.mount_points import make_places


@pytest.fixture
def layers(tmp_path: Path) -> list[str]:
    """Return two layers: `/etc` with a file below, a link above."""
    top, base = tmp_path / "top", tmp_path / "base"
    (base / "etc").mkdir(parents=True)
    (base / "etc/passwd").touch()
    (base / "etc").chmod(0o751)
    (base / "data").mkdir()
    (base / "run").mkdir()
    top.mkdir()
    (top / "var").symlink_to("run")
    return [str(top), str(base)]


def _made(layers: list[str], tmp_path: Path, *mounts: tuple[str, str]) -> list[str]:
    upper = tmp_path / "upper"
    upper.mkdir()
    source = tmp_path / "source"
    source.touch()
    described: list[dict[str, Any]] = [
        {"destination": place, "type": "bind" if kind == "file" else "tmpfs", "source": str(source)}
        for place, kind in mounts
    ]
    make_places(layers, upper, described)
    return sorted(f"{path.relative_to(upper)}{'/' if path.is_dir() else ''}" for path in upper.rglob("*"))


def test_missing_mount_points_get_the_modes_of_existing_directories(layers: list[str], tmp_path: Path) -> None:
    assert _made(layers, tmp_path, ("/etc/hosts", "file"), ("/proc", "")) == ["etc/", "etc/hosts", "proc/"]
    assert (tmp_path / "upper/etc").stat().st_mode & 0o7777 == 0o751


def test_existing_mount_points_are_not_changed(layers: list[str], tmp_path: Path) -> None:
    assert _made(layers, tmp_path, ("/etc/passwd", "file"), ("/data", ""), ("/run", "")) == []


def test_a_path_through_a_link_is_left_to_the_runtime(layers: list[str], tmp_path: Path) -> None:
    assert _made(layers, tmp_path, ("/var/lock", "")) == []


def test_mount_points_hidden_by_another_mount_are_not_made(layers: list[str], tmp_path: Path) -> None:
    assert _made(layers, tmp_path, ("/dev", ""), ("/dev/shm", ""), ("/dev/pts", "")) == ["dev/"]


def test_a_deleted_directory_is_missing(layers: list[str], tmp_path: Path) -> None:
    import os

    os.mknod(Path(layers[0]) / "data", 0o020000, 0)  # overlay's mark, which every user may make
    assert _made(layers, tmp_path, ("/data/in", "")) == ["data/", "data/in/"]
