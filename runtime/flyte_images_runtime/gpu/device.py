"""Card: one accelerator of this machine. Inventory: all that a search found. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A GPU, or a MIG instance of one (`partition`, `parent`). `uuid` never changes; `index` may change at a reboot.

    nodes      the device nodes that a process needs to use this card and no other
    processes  the pids of the processes that compute on it now, of all users
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
        """The name for people: the driver's name, and the partition once."""
        bare = self.name.partition(" MIG ")[0]
        return f"{bare} ({self.partition})" if self.partition else bare


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The result of a search: the cards of this machine, and for each maker without a card, the reason."""

    cards: tuple[Card, ...] = ()
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        return describe(self.cards) if self.cards else "; ".join(self.problems) or "no GPU"


def describe(cards: Sequence[Card], busy: dict[str, str] | None = None) -> str:
    """Return the cards as a phrase. `busy` says by UUID which process has a card.

    >>> t4, h = Card(family="nvidia", index="0", name="Tesla T4", uuid="a"), "NVIDIA H200"
    >>> describe([Card(family="nvidia", index=i, name=h, uuid=i) for i in "12"] + [t4], {"a": "pid 4242"})
    '2 x NVIDIA H200, 1 x Tesla T4 (busy: pid 4242)'
    """
    counts: dict[tuple[str, str], int] = {}
    for card in cards:
        holder = (busy or {}).get(card.uuid, "")
        counts[card.title, holder] = counts.get((card.title, holder), 0) + 1
    parts = [f"{count} x {name}" + (f" (busy: {holder})" if holder else "") for (name, holder), count in counts.items()]
    return ", ".join(parts) or "no GPU"
