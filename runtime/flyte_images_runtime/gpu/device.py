"""Card: one accelerator that is in this machine, and how a list of them is told to people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A GPU, or a MIG instance of one (`partition`, `parent`). `uuid` names it for good; `index` may change at reboot.

    nodes      the device nodes that a process needs to use this card and no other
    processes  those that compute on it now, whoever started them
    """

    family: Literal["nvidia", "amd"]
    index: str
    name: str
    uuid: str
    memory: int = 0
    partition: str | None = None
    parent: str | None = None
    bus: str | None = None
    nodes: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """What people call it: the driver's name, and its partition once."""
        bare = self.name.partition(" MIG ")[0]
        return f"{bare} ({self.partition})" if self.partition else bare


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look at this machine gave: its cards, and for each maker without any, why."""

    cards: tuple[Card, ...] = ()
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        return describe(self.cards) if self.cards else "; ".join(self.problems) or "no GPU"


def describe(cards: Sequence[Card], busy: dict[str, str] | None = None) -> str:
    """Return the cards as a phrase; `busy` says by UUID who has which.

    >>> t4, h = Card(family="nvidia", index="0", name="Tesla T4", uuid="a"), "NVIDIA H200"
    >>> describe([Card(family="nvidia", index=i, name=h, uuid=i) for i in "12"] + [t4], {"a": "pid 4242"})
    '2 x NVIDIA H200, 1 x Tesla T4 (busy: pid 4242)'
    """
    counts: dict[tuple[str, str], int] = {}
    for card in cards:
        told = (busy or {}).get(card.uuid, "")
        counts[card.title, told] = counts.get((card.title, told), 0) + 1
    parts = [f"{count} x {name}" + (f" (busy: {told})" if told else "") for (name, told), count in counts.items()]
    return ", ".join(parts) or "no GPU"
