"""The bundle of a container, laid out in a directory for an OCI runtime: root filesystem, files, configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..system.mounts import overlay

LARGE, DISK = "large", "disk"
CGROUP_FILES = ("memory", "cpu", "cpuacct", "pids")


def make_directories(place: Path) -> None:
    """Make the directories of a bundle. `place` is a tmpfs of the task."""
    for name in ("upper", "work", "rootfs", "state", DISK, LARGE, *(f"cgroup/{name}" for name in CGROUP_FILES)):
        (place / name).mkdir(parents=True)


def lay_out(
    place: Path,
    layers: Sequence[str],
    *,
    upper: Path,
    files: Mapping[str, str],
    config: Mapping[str, Any],
    ordinary_user: bool = False,
) -> None:
    """Fill the bundle at `place`. Writes to the container's root go to `upper`/upper."""
    for name, text in files.items():
        (place / name).write_text(text, encoding="utf-8")
    if ordinary_user:
        from .mount_points import make_places

        make_places(layers, upper / "upper", config["mounts"])
    overlay(layers, place / "rootfs", upper=upper / "upper", work=upper / "work", ordinary_user=ordinary_user)
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
