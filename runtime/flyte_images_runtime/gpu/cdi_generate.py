"""Cards and a driver -> a CDI specification, for machines without one from the maker's toolkit.

It needs no hooks: each library of the driver is bound under the name by which programs load it, in the directory that
the dynamic linker of a Debian image searches, and in that of a Red Hat image.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .device import Card

_VERSION = "0.5.0"  # the oldest version with all fields used here
_CORE = re.compile(r"lib(cuda|nvidia-ml|nvidia-ptxjitcompiler|nvidia-nvvm|nvidia-gpucomp|cudadebugger)\.so")
_SHARED_NODES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
_PROGRAMS = ("nvidia-smi", "nvidia-debugdump", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server")
_SOCKETS = ("/run/nvidia-persistenced/socket", "/run/nvidia-fabricmanager/socket", "/tmp/nvidia-mps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """The parts of the host's driver that a container needs.

    (file on the host, name inside) of libraries, and paths.
    """

    version: str
    libraries: tuple[tuple[str, str], ...]
    nodes: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


def read_driver(version: str, libraries: Path, *, root: Path = Path("/")) -> Driver:
    """Return the files of the driver of that version beside its NVML library."""
    programs = [directory / name for name in _PROGRAMS for directory in (root / "usr/bin", libraries.parent / "bin")]
    firmware = sorted((root / "lib/firmware/nvidia" / version).glob("gsp*.bin"))
    sockets = [root / path.lstrip("/") for path in _SOCKETS]
    return Driver(
        version=version,
        libraries=tuple(_libraries(version, libraries)),
        nodes=tuple(str(node) for name in _SHARED_NODES if (node := root / "dev" / name).exists()),
        programs=tuple(str(path) for path in programs if path.exists()),
        paths=tuple(str(path) for path in (*firmware, *sockets) if path.exists()),
    )


def nvidia_spec(cards: Sequence[Card], driver: Driver, *, machine: str | None = None) -> dict[str, Any]:
    """Return the specification of kind `nvidia.com/gpu`: a device by index and one by UUID for each card, and `all`."""
    devices = []
    for card in cards:
        edits = {"deviceNodes": [{"path": _inside(node), "hostPath": node} for node in card.nodes]}
        devices += [{"name": name, "containerEdits": edits} for name in (card.index, card.uuid)]
    every = list(dict.fromkeys(node for card in cards for node in card.nodes))
    all_nodes = [{"path": _inside(node), "hostPath": node} for node in every]
    devices.append({"name": "all", "containerEdits": {"deviceNodes": all_nodes}})
    return {
        "cdiVersion": _VERSION,
        "kind": "nvidia.com/gpu",
        "devices": devices,
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],  # an old hook on this host then does nothing
            "deviceNodes": [{"path": _inside(node), "hostPath": node} for node in driver.nodes],
            "mounts": _mounts(driver, machine or platform.machine()),
        },
    }


def amd_spec(cards: Sequence[Card]) -> dict[str, Any]:
    """Return the specification of kind `amd.com/gpu`. The libraries of ROCm come from the image."""
    devices = []
    for card in cards:
        own = [{"path": _inside(node), "hostPath": node} for node in card.nodes if not node.endswith("/kfd")]
        devices += [{"name": name, "containerEdits": {"deviceNodes": own}} for name in (card.index, card.uuid)]
    shared = sorted({node for card in cards for node in card.nodes if node.endswith("/kfd")})
    return {
        "cdiVersion": _VERSION,
        "kind": "amd.com/gpu",
        "devices": devices,
        "containerEdits": {"deviceNodes": [{"path": _inside(node), "hostPath": node} for node in shared]},
    }


def _libraries(version: str, directory: Path) -> list[tuple[str, str]]:
    """Return the driver's libraries by the names under which programs load them: `libcuda.so.1`, `libcuda.so`, ..."""
    found = []
    for path in sorted(directory.glob("lib*.so*")):
        real = path.resolve()
        if not real.name.endswith(f".so.{version}") or not real.is_file():
            continue
        if re.search(r"\.so\.[0-9.]+$", path.name) or path.name == "libcuda.so":
            found.append((str(real), path.name))
    return found


def _mounts(driver: Driver, machine: str) -> list[dict[str, Any]]:
    options = ["ro", "nosuid", "nodev", "rbind", "rprivate"]
    mounts = []
    for host, name in driver.libraries:
        places = [f"/usr/lib/{machine}-linux-gnu", *(["/usr/lib64"] if _CORE.match(name) else [])]
        mounts += [{"hostPath": host, "containerPath": f"{place}/{name}", "options": options} for place in places]
    for host in driver.programs:
        mounts.append({"hostPath": host, "containerPath": f"/usr/bin/{Path(host).name}", "options": options})
    for host in driver.paths:
        mounts.append({"hostPath": host, "containerPath": host, "options": options})
    return mounts


def _inside(node: str) -> str:
    """Return the node's path in the container: the host's path from its last `/dev/` on.

    >>> _inside("/dev/nvidia0"), _inside("/tmp/stand-ins/dev/nvidia-caps/nvidia-cap1")
    ('/dev/nvidia0', '/dev/nvidia-caps/nvidia-cap1')
    """
    return "/dev/" + node.rpartition("/dev/")[2]
