"""A tree that was looked at -> whether it is still the same, by the statuses of its entries: a fraction of the time of
looking again. A folder's status says whether something came into it or went.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from .file_index import RACY, StatusKey, status_key
from .tree import Tree

_RULES = b".dockerignore"


class Unchanged:
    """What was seen of a tree when it was looked at, from `looked_at` (nanoseconds since 1970) on."""

    def __init__(self, statuses: dict[bytes, StatusKey | None]) -> None:
        self._statuses = statuses

    def holds(self) -> bool:
        """Is all of it as it was?"""
        try:
            return all(_status(path) == known for path, known in self._statuses.items())
        except OSError:
            return False


def remember(
    tree: Tree, patterns: Sequence[str], *, looked_at: int, settled: Callable[[bytes], bool]
) -> Unchanged | None:
    """Remember the tree. None if its statuses would not show every change.

    They would not if something changed a moment ago, as the clock may then not show another change; if a file is
    not settled (settled.py); or if rules take back what is in an ignored folder, of which nothing is
    remembered.
    """
    if not all(settled(entry.path) for entry in tree.entries if entry.kind == "f"):
        return None
    statuses: dict[bytes, StatusKey | None] = {tree.place(entry): status_key(entry.status) for entry in tree.entries}
    try:
        rules = tree.root + b"/" + _RULES
        statuses[tree.root], statuses[rules] = _status(tree.root), _status(rules)
        if any(pattern.startswith("!") for pattern in patterns) or (statuses[rules] and b"!" in _read(rules)):
            return None
    except OSError:
        return None
    if any(known is not None and max(known[1:3]) + RACY >= looked_at for known in statuses.values()):
        return None
    return Unchanged(statuses)


def _status(path: bytes) -> StatusKey | None:
    try:
        return status_key(os.lstat(path))
    except FileNotFoundError:
        return None


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
