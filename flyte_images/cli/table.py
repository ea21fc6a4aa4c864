"""Rows -> lines whose columns stand below each other."""

from __future__ import annotations

from collections.abc import Sequence

from ..progress.terminal_text import clean


def columns(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> list[str]:
    """Lines with a head, for a person: nothing in a cell commands the terminal. The last column is as wide as it likes.

    >>> columns([["17-3", "ml.train"], ["17-12", "a"]], ["id", "task"])
    ['ID     TASK', '17-3   ml.train', '17-12  a']
    """
    everything = [[head.upper() for head in heads], *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in everything) for at in range(len(heads))]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in everything)
    return ["  ".join(row).rstrip() for row in padded]
