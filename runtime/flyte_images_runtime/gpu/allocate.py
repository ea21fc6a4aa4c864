"""GPURequest -> Allocation: the cards of this machine that a task gets, leased, and their names for an engine.

A request that this machine cannot meet is an error before anything starts. The error says which cards are here.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from ..errors import DeviceError
from ..resources.accelerators import GPURequest
from ..resources.gpu_models import Family
from . import cdi, lease
from .amd import amd
from .cdi_names import names_of
from .device import Card, Inventory, describe
from .match import matching, visible
from .nvml import nvidia

_ELSEWHERE: dict[Family, str] = {
    "tpu": "TPU",
    "neuron": "AWS accelerator",
    "gaudi": "Gaudi",
    "apple": "Apple GPU for containers",
}


@dataclass(slots=True)
class Allocation:
    """Cards that belong to a task until `release`, or until the last process that has `fds` has ended.

    devices  full CDI names, for `--device` or a DeviceRequest of the driver `cdi`
    uuids    the cards, for a label of the container: `allocate(held=...)` refuses the cards of a labeled container
    edits    what the devices change in a container, for a runtime that does not know CDI
    fds      pass them to a child that lives as long as the container (`Popen(pass_fds=...)`), or use `hold_while`
    """

    devices: tuple[str, ...]
    cards: tuple[Card, ...]
    registry: cdi.Registry
    _lease: lease.Lease = field(repr=False)

    @property
    def uuids(self) -> tuple[str, ...]:
        return tuple(card.uuid for card in self.cards)

    @property
    def fds(self) -> tuple[int, ...]:
        return self._lease.fds

    @property
    def edits(self) -> cdi.Edits:
        return self.registry.edits(self.devices)

    def hold_while(self, pid: int) -> None:
        """Keep the lease until the process `pid` (the container's first) has ended, even if this process dies first.

        `release` still ends it at once.
        """
        subprocess.Popen(  # it starts a second process and ends: that one survives this process
            (sys.executable, "-I", "-S", "-c", _HOLDER, str(pid)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=self.fds,
            start_new_session=True,
            cwd="/",
            env={},
        ).wait()

    def release(self) -> None:
        """Give the cards back. A second call does nothing."""
        self._lease.release()

    def __enter__(self) -> Allocation:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


# It forks so that its parent can wait for it and go on; the grandchild holds the inherited descriptors.
_HOLDER = """
import os, select, sys
try:
    watched = os.pidfd_open(int(sys.argv[1]))
except OSError:
    sys.exit()
if os.fork() == 0:
    select.select([watched], [], [])
os._exit(0)
"""


def allocate(
    request: GPURequest,
    *,
    environ: Mapping[str, str],
    wait: float = 0.0,
    note: str = "",
    held: Callable[[], Collection[str]] = tuple,
    directories: Sequence[Path] = cdi.DIRECTORIES,
    write: bool = True,
    look: Callable[[GPURequest], Inventory] | None = None,
) -> Allocation:
    """Lease the cards that `request` asks for. Raise DeviceError with the reason and the cards of this machine.

    wait         seconds to wait for cards that other tasks have
    note         the description of this task that other tasks see while it has the cards
    held         returns the UUIDs on the labels of running containers, whose clients may have died
    directories  where the engine that will start the container looks for CDI specifications
    write        write a specification there if none has the cards; a runtime that applies `edits` itself needs no file
    """
    look = look or search
    cards = present(request, environ=environ, look=look)
    names, registry = names_of(cards, directories, write=write)
    place = lease.directory(environ)

    def try_once() -> lease.Lease | None:
        if not request.shared and len(cards) - len(lease.holders(place, list(names))) < request.count:
            return None  # without asking the driver, which can take a second
        now = {card.uuid: card for card in look(request).cards}
        taken = set(held())

        def free(card: Card, attempt: Callable[[str], bool]) -> bool:
            fresh = now.get(card.uuid)
            if fresh is None or card.uuid in taken or (fresh.processes and not request.shared):
                return False
            return attempt(card.uuid)

        return lease.take(
            place, lambda attempt: _choose(request.count, cards, free, attempt), shared=request.shared, note=note
        )

    got = lease.wait_for(try_once, seconds=wait)
    if got is None:
        raise _all_busy(request, cards, place, set(held()), wait, look)
    chosen = tuple(next(card for card in cards if card.uuid == key) for key in got.keys)
    return Allocation(tuple(names[card.uuid] for card in chosen), chosen, registry, got)


def search(request: GPURequest | None = None) -> Inventory:
    """Return the cards of this machine of the request's maker, or of all makers."""
    family = request.family if request else None
    found = [look() for maker, look in (("nvidia", nvidia), ("amd", amd)) if family in (None, maker)]
    return Inventory(
        cards=tuple(card for one in found for card in one.cards),
        problems=tuple(p for one in found for p in one.problems),
    )


def present(
    request: GPURequest, *, environ: Mapping[str, str], look: Callable[[GPURequest], Inventory] = search
) -> list[Card]:
    """Return the cards that fit, at least as many as requested. Raise DeviceError if there are fewer."""
    if request.family in _ELSEWHERE:
        raise DeviceError(
            f"asked for {request}: this machine has no {_ELSEWHERE[request.family]}",
            hint="tasks run on this machine's processors and GPUs; leave the accelerator out to run it here",
        )
    found = look(request)
    seen = visible(found.cards, environ)
    cards = matching(request, seen)
    if len(cards) >= request.count:
        return cards
    others = found if found.cards or request.family is None or look is not search else search()
    has = f"this host has {describe(others.cards)}" if others.cards else str(others)
    if len(seen) < len(found.cards):
        raise DeviceError(
            f"asked for {request}; {has}, of which CUDA_VISIBLE_DEVICES leaves {describe(seen)}",
            hint="unset CUDA_VISIBLE_DEVICES, or ask for what it leaves",
        )
    raise DeviceError(f"asked for {request}; {has}", hint=_instead(request, others.cards))


def _instead(request: GPURequest, cards: Sequence[Card]) -> str:
    if not cards:
        return "leave the GPU out to run the task on the processor"
    if request.partition is not None and not any(card.partition for card in cards):
        return "no card of this host is partitioned: see `nvidia-smi mig`, or ask for a whole one"
    return "ask for a card that this host has, or gpu=N without a model for any"


def _choose(
    count: int,
    cards: Sequence[Card],
    free: Callable[[Card, Callable[[str], bool]], bool],
    attempt: Callable[[str], bool],
) -> tuple[str, ...]:
    """Return the UUIDs of `count` free cards, of one model if possible. Return none if fewer are free."""
    available: list[Card] = []
    for _, same in groupby(cards, key=lambda card: (card.name, card.memory)):
        group = []
        for card in same:
            if free(card, attempt):
                group.append(card)
                if len(group) == count:
                    return tuple(card.uuid for card in group)
        available += group
    return tuple(card.uuid for card in available[:count]) if len(available) >= count else ()


def _all_busy(
    request: GPURequest,
    cards: Sequence[Card],
    place: Path,
    labelled: set[str],
    wait: float,
    look: Callable[[GPURequest], Inventory],
) -> DeviceError:
    busy = lease.holders(place, [card.uuid for card in cards])
    for card in look(request).cards:
        if card.processes and card.uuid not in busy:
            busy[card.uuid] = "pid " + ", ".join(map(str, card.processes))
    for uuid in labelled:
        busy.setdefault(uuid, "a running container")
    waited = f" after {wait:g} s" if wait else ""
    free = sum(card.uuid not in busy for card in cards)
    return DeviceError(
        f"asked for {request}; {free} of {len(cards)} free{waited}: {describe(cards, busy)}",
        hint="wait longer (gpu_wait), or share a card with `shared`",
    )
