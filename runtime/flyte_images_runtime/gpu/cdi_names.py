"""Cards -> the names by which an engine passes them, from CDI specifications. Makes a specification if none exists."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DeviceError
from ..system import atomic
from . import cdi
from .amd import amd
from .cdi_generate import amd_spec, nvidia_spec, read_driver
from .device import Card
from .nvml import driver, nvidia

_KINDS = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}
_OWN_SPEC = "flyte-images-{family}.json"


def names_of(cards: Sequence[Card], directories: Sequence[Path], *, write: bool) -> tuple[dict[str, str], cdi.Registry]:
    """Return the CDI name of each card by UUID, and the specifications with these devices.

    For cards that no specification has, one is made: as a file in the last of `directories`, or only in the returned
    value,
    for engines that get the parts of a device (`edits_of`) or know it by the maker's own method.
    """
    registry = cdi.read(directories)
    names = _known(cards, registry)
    missing = [card for card in cards if card.uuid not in names]
    for family in sorted({card.family for card in missing}):
        document = specification(family)
        path = directories[-1] / _OWN_SPEC.format(family=family)
        if write:
            with suppress(DeviceError):  # only root may write there
                write_spec(document, path, family)
        registry = replace(registry, specs=(*registry.specs, cdi.parse(document, path)))
    names = _known(cards, registry) if missing else names
    for card in cards:
        if card.uuid not in names:
            raise DeviceError(f"no CDI device for {card.title} ({card.uuid}) can be made", hint=_toolkit(card.family))
    return names, registry


def _known(cards: Sequence[Card], registry: cdi.Registry) -> dict[str, str]:
    names: dict[str, str] = {}
    for card in cards:
        kind = _KINDS[card.family]
        devices = registry.names(kind)
        for name in (card.uuid, card.index):
            if name in devices and _is(card, devices[name]):
                names[card.uuid] = f"{kind}={name}"
                break
        else:
            by_node = [
                name for name, edits in devices.items() if name != "all" and card.family == "amd" and _is(card, edits)
            ]
            if by_node:
                names[card.uuid] = f"{kind}={by_node[0]}"
    return names


def _is(card: Card, edits: cdi.Edits) -> bool:
    """Return whether a device of that name is still this card: an index may have moved since the file was written."""
    nodes = {node.path.rpartition("/")[2] for node in edits.nodes}
    own = [node.rpartition("/")[2] for node in card.nodes if not node.endswith("/kfd")]
    first = next((node for node in own if node.startswith(("nvidia", "renderD"))), None)
    return first is None or first in nodes


def edits_of(devices: Sequence[str], uuids: Sequence[str], directories: Sequence[Path] = cdi.DIRECTORIES) -> cdi.Edits:
    """Return the edits of the leased devices, from the files of this machine, or from a specification made here."""
    registry = cdi.read(directories)
    if registry.knows(devices) or len(devices) != len(uuids) or any(_family(name) is None for name in devices):
        return registry.edits(devices)
    return without_hooks(devices, uuids)


def _family(device: str) -> str | None:
    kind = device.partition("=")[0]
    return next((maker for maker, its in _KINDS.items() if its == kind), None)


def without_hooks(devices: Sequence[str], uuids: Sequence[str]) -> cdi.Edits:
    """Return the edits of the cards without the maker's programs that a runtime would have to start.

    The maker's files often name such programs; specifications made here never do.
    """
    total = cdi.Edits()
    for name, uuid in zip(devices, uuids, strict=True):
        kind, family = name.partition("=")[0], _family(name)
        if family is None:
            raise DeviceError(
                f"the device `{name}` needs hooks, which this engine cannot run", hint="use another engine"
            )
        made = cdi.Registry(specs=(cdi.parse(specification(family), Path(kind)),))
        total = total + made.edits([f"{kind}={uuid}"])
    return total


def specification(family: str) -> dict[str, Any]:
    """Return a specification of all cards of one maker in this machine."""
    if family == "amd":
        return amd_spec(amd().cards)
    known = driver()
    if known is None:
        raise DeviceError("the NVIDIA driver no longer answers", hint="see nvidia-smi")
    cards = nvidia().cards
    absent = [node for card in cards for node in card.nodes if not Path(node).exists()]
    if absent:
        raise DeviceError(
            f"the device node `{absent[0]}` does not exist", hint="make it: nvidia-modprobe -u -c 0, as root"
        )
    return nvidia_spec(cards, read_driver(*known))


def write_spec(document: Mapping[str, Any], path: Path, family: str) -> None:
    """Write a specification where engines look for it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, json.dumps(document, indent=1).encode(), mode=0o644)  # engines read *.json and *.yaml only
    except OSError as error:
        raise DeviceError(
            f"this machine has a GPU, but no CDI specification for an engine; `{path}`: {error.strerror}",
            hint=_toolkit(family),
        ) from None


def _toolkit(family: str) -> str:
    tool = "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml" if family == "nvidia" else "amd-ctk cdi generate"
    return f"run as root: {tool}"
