"""The kernel's tables of AMD GPUs -> cards. Reads sysfs only, without a library of the maker."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from .device import Card, Inventory

# PCI device numbers of cards whose firmware does not give their names.
_NAMES = {
    "0x738c": "AMD Instinct MI100",
    "0x740f": "AMD Instinct MI210",
    "0x740c": "AMD Instinct MI250",
    "0x7408": "AMD Instinct MI250X",
    "0x74a0": "AMD Instinct MI300A",
    "0x74a1": "AMD Instinct MI300X",
    "0x74a5": "AMD Instinct MI325X",
    "0x75a0": "AMD Instinct MI350X",
    "0x75a3": "AMD Instinct MI355X",
}


def amd(*, sys: Path = Path("/sys"), dev: Path = Path("/dev")) -> Inventory:
    """Return the AMD GPUs that can compute, in the order of the kernel."""
    topology = sys / "class/kfd/kfd/topology/nodes"
    if not topology.is_dir():
        return Inventory(problems=("no AMD GPU: the driver amdgpu is not loaded",))
    cards: list[Card] = []
    for node in sorted(topology.iterdir(), key=lambda path: int(path.name) if path.name.isdecimal() else 0):
        gpu = _read(node / "gpu_id")
        minor = _property(node, "drm_render_minor")
        if gpu in ("", "0") or not minor:  # node 0 is the processor
            continue
        cards.append(_card(sys, dev, index=str(len(cards)), gpu=gpu, minor=minor))
    return Inventory(cards=tuple(cards), problems=() if cards else ("no AMD GPU: the driver has none",))


def _card(sys: Path, dev: Path, *, index: str, gpu: str, minor: int) -> Card:
    device = sys / f"class/drm/renderD{minor}/device"
    bus = device.resolve().name if device.exists() else None
    number = _read(device / "device")
    memory = _read(device / "mem_info_vram_total")
    drawn = sorted(path.name for path in (device / "drm").glob("card*")) if device.exists() else []
    return Card(
        family="amd",
        index=index,
        name=_read(device / "product_name") or _NAMES.get(number, f"AMD GPU {number}"),
        uuid=f"AMD-{_read(device / 'unique_id') or bus or gpu}",
        memory=int(memory) if memory.isdecimal() else 0,
        bus=bus,
        nodes=(str(dev / "kfd"), str(dev / f"dri/renderD{minor}"), *(str(dev / "dri" / name) for name in drawn)),
        processes=_processes(sys, gpu),
    )


def _processes(sys: Path, gpu: str) -> tuple[int, ...]:
    """Return the pids of the processes that hold memory of the card."""
    found = []
    for used in (sys / "class/kfd/kfd/proc").glob(f"*/vram_{gpu}"):
        if _read(used) not in ("", "0") and used.parent.name.isdecimal():
            found.append(int(used.parent.name))
    return tuple(sorted(found))


def _property(node: Path, name: str) -> int:
    found = re.search(rf"^{name} ([0-9]+)$", _read(node / "properties"), re.MULTILINE)
    return int(found[1]) if found else 0


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8").strip()
    return ""
