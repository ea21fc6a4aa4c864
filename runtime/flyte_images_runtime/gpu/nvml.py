"""The NVIDIA driver's library -> cards. The only module that uses nvidia-ml-py, which it loads on the first call.

A missing library and a missing device mean the same: no NVIDIA GPU in this machine.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from .device import Card, Inventory

# Directories of drivers that the dynamic linker does not search: on Google's machines, bare machines, WSL, NixOS.
_LIBRARY = "libnvidia-ml.so.1"
_DRIVER_DIRECTORIES = (
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/usr/lib/wsl/lib",
    "/run/opengl-driver/lib",
    "/home/kubernetes/bin/nvidia/lib64",
)
_T = TypeVar("_T")


def nvidia(*, dev: Path = Path("/dev"), proc: Path = Path("/proc")) -> Inventory:
    """Return the NVIDIA GPUs of this machine, and the instances of a partitioned card instead of the card."""
    try:
        import pynvml  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        if not (proc / "driver/nvidia/version").exists():
            return Inventory(problems=("no NVIDIA GPU: no driver is loaded",))
        return Inventory(
            problems=("no NVIDIA GPU can be seen: nvidia-ml-py is not installed (pip install 'flyte-images[gpu]')",)
        )
    try:
        with _session(pynvml):
            cards = [card for index in range(pynvml.nvmlDeviceGetCount()) for card in _card(pynvml, index, dev, proc)]
    except pynvml.NVMLError as error:
        return Inventory(problems=(_problem(pynvml, error),))
    return Inventory(cards=tuple(cards), problems=() if cards else ("no NVIDIA GPU: the driver has none",))


def driver() -> tuple[str, Path] | None:
    """Return the version of the driver and the directory of its libraries. None without a driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        with _session(pynvml):
            version = _text(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None
    loaded = re.search(r"(/\S*)/libnvidia-ml\.so", Path("/proc/self/maps").read_text(encoding="utf-8"))
    return (version, Path(loaded[1])) if loaded else None


@contextmanager
def watch(uuids: Sequence[str]) -> Iterator[Callable[[], list[tuple[int | None, float | None]]]]:
    """Give a function that returns, for each card, the used bytes and the share of the last moment spent computing."""
    import pynvml

    def look(uuid: str) -> tuple[int | None, float | None]:
        used = busy = None
        with suppress(pynvml.NVMLError):  # the card went away: the task's own error will say so
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            used = _ask(pynvml, lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).used))
            busy = _ask(
                pynvml, lambda: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            )  # a partition does not report it
        return used, None if busy is None else busy / 100

    with ExitStack() as stack:
        with suppress(pynvml.NVMLError):
            stack.enter_context(_session(pynvml))
        yield lambda: [look(uuid) for uuid in uuids]


@contextmanager
def _session(pynvml: ModuleType) -> Iterator[None]:
    _load()
    pynvml.nvmlInit()
    try:
        yield
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _load() -> None:
    """Load the driver's library from outside the linker's directories: the client library then finds it by its name."""
    with suppress(OSError):
        ctypes.CDLL(_LIBRARY)
        return
    for directory in _DRIVER_DIRECTORIES:
        with suppress(OSError):
            ctypes.CDLL(f"{directory}/{_LIBRARY}", mode=ctypes.RTLD_GLOBAL)
            return


def _problem(pynvml: ModuleType, error: Exception) -> str:
    if isinstance(error, pynvml.NVMLError_LibraryNotFound):
        return f"no NVIDIA GPU: {_LIBRARY} not found"
    if isinstance(error, pynvml.NVMLError_DriverNotLoaded):
        return "no NVIDIA GPU: the driver is not loaded"
    return f"the NVIDIA driver does not answer: {error}"


def _card(pynvml: ModuleType, index: int, dev: Path, proc: Path) -> list[Card]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    minor = _ask(pynvml, lambda: int(pynvml.nvmlDeviceGetMinorNumber(handle)))
    bus = _ask(pynvml, lambda: _text(pynvml.nvmlDeviceGetPciInfo(handle).busId))
    nodes = () if minor is None else (str(dev / f"nvidia{minor}"),)
    whole = _describe(pynvml, handle, str(index), nodes, bus)
    if _ask(pynvml, lambda: pynvml.nvmlDeviceGetMigMode(handle)[0]) != pynvml.NVML_DEVICE_MIG_ENABLE:
        return [whole]
    return list(_instances(pynvml, handle, whole, proc))


def _instances(pynvml: ModuleType, handle: Any, whole: Card, proc: Path) -> Iterator[Card]:
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        instance = _ask(pynvml, partial(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number))
        if instance is None:
            continue
        gpu_instance = int(pynvml.nvmlDeviceGetGpuInstanceId(instance))
        compute_instance = int(pynvml.nvmlDeviceGetComputeInstanceId(instance))
        minor = whole.nodes[0].rpartition("nvidia")[2] if whole.nodes else ""
        below = proc / f"driver/nvidia/capabilities/gpu{minor}/mig/gi{gpu_instance}"
        caps = [_capability(path) for path in (below / "access", below / f"ci{compute_instance}" / "access")]
        directory = str(Path(whole.nodes[0]).parent) if whole.nodes else "/dev"
        nodes = (*whole.nodes, *(f"{directory}/nvidia-caps/nvidia-cap{cap}" for cap in caps if cap is not None))
        card = _describe(pynvml, instance, f"{whole.index}:{number}", nodes, whole.bus)
        profile = re.search(r" MIG (\S+)$", card.name)
        yield Card(
            family="nvidia",
            index=card.index,
            name=card.name,
            uuid=card.uuid,
            memory=card.memory,
            partition=profile[1] if profile else "unknown",
            parent=whole.uuid,
            bus=whole.bus,
            nodes=nodes,
            processes=card.processes,
        )


def _describe(pynvml: ModuleType, handle: Any, index: str, nodes: tuple[str, ...], bus: str | None) -> Card:
    running = _ask(pynvml, lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle)) or []
    memory = _ask(pynvml, lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).total))
    return Card(
        family="nvidia",
        index=index,
        name=_text(pynvml.nvmlDeviceGetName(handle)),
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        memory=memory or 0,  # cards that share the machine's memory report none
        bus=bus,
        nodes=nodes,
        processes=tuple(sorted({int(process.pid) for process in running})),
    )


def _capability(path: Path) -> int | None:
    """Return the minor number in /dev/nvidia-caps that a MIG instance needs."""
    with suppress(OSError):
        found = re.search(r"DeviceFileMinor:\s*([0-9]+)", path.read_text(encoding="utf-8"))
        return int(found[1]) if found else None
    return None


def _ask(pynvml: ModuleType, question: Callable[[], _T]) -> _T | None:
    """Return the answer, or None where this card or this driver does not have one."""
    try:
        return question()
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_NotFound, pynvml.NVMLError_FunctionNotFound,
            pynvml.NVMLError_InvalidArgument, pynvml.NVMLError_NoPermission):  # fmt: skip
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
