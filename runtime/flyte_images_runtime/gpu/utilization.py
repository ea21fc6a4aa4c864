"""Cards -> their used memory and their load, measured repeatedly while a task has the cards.

A card belongs to one task, so its load is the task's. The load of a `shared` card is that of all its tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .device import Card

Look = Callable[[], "tuple[int | None, float | None]"]
"""Return the used bytes of all cards together, and the mean share of time in which they compute; None if unknown."""


@contextmanager
def watching(cards: Sequence[Card], *, sys: Path = Path("/sys")) -> Iterator[Look]:
    """Give a function that measures.

    The driver's library stays loaded until the end: loading it takes up to a second.
    """
    if cards and cards[0].family == "nvidia":
        from .nvml import watch

        with watch([card.uuid for card in cards]) as ask:
            yield lambda: together(ask())
    else:
        yield lambda: together([_amd(card, sys) for card in cards])


def together(found: Sequence[tuple[int | None, float | None]]) -> tuple[int | None, float | None]:
    """Return, for several cards, the sum of the memory and the mean of the shares.

    >>> together([(1, 0.5), (2, 1.0), (None, None)])
    (3, 0.75)
    >>> together([(None, None)])
    (None, None)
    """
    memory = [one for one, _ in found if one is not None]
    shares = [one for _, one in found if one is not None]
    return sum(memory) if memory else None, sum(shares) / len(shares) if shares else None


def _amd(card: Card, sys: Path) -> tuple[int | None, float | None]:
    node = next((node.rpartition("/")[2] for node in card.nodes if "/renderD" in node), "")
    device = sys / "class/drm" / node / "device"
    busy = _number(device / "gpu_busy_percent")
    return _number(device / "mem_info_vram_used"), None if busy is None else busy / 100


def _number(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(path.read_text(encoding="utf-8"))
    return None
