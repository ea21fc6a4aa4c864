"""Format rows as lines with aligned columns."""

from __future__ import annotations

from collections.abc import Sequence

from ..progress.terminal_text import clean


def columns(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> list[str]:
    """Return lines below a head, with escape sequences in cells made visible.

    >>> columns([["17-3", "ml.train"], ["17-12", "a"]], ["id", "task"])
    ['ID     TASK', '17-3   ml.train', '17-12  a']
    """
    table = [[head.upper() for head in heads], *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(heads))]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in table)
    return ["  ".join(row).rstrip() for row in padded]
