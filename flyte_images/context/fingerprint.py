"""Notice changes of a tree by the statuses of its entries, in a fraction of the time of another scan.

The status of a folder shows whether entries were added or removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from .file_index import RACY, StatusKey, status_key
from .tree import Tree

_RULES = b".dockerignore"


class Fingerprint:
    """The statuses of the entries of a tree at the time of a scan."""

    def __init__(self, statuses: dict[bytes, StatusKey | None]) -> None:
        self._statuses = statuses

    def holds(self) -> bool:
        """Return whether all statuses are unchanged."""
        try:
            return all(_status(path) == status for path, status in self._statuses.items())
        except OSError:
            return False


def take_fingerprint(
    tree: Tree, patterns: Sequence[str], *, looked_at: int, settled: Callable[[bytes], bool]
) -> Fingerprint | None:
    """Return the fingerprint of a tree that was scanned from `looked_at` (nanoseconds since 1970) on.

    Return None if statuses would not show every change: something changed just before the scan, so the clock may hide
    another change; a file is not settled (settled.py); or ignore rules include paths below an ignored folder, whose
    status the scan does not have.
    """
    if not all(settled(entry.path) for entry in tree.entries if entry.kind == "f"):
        return None
    statuses: dict[bytes, StatusKey | None] = {tree.path_of(entry): status_key(entry.status) for entry in tree.entries}
    try:
        rules = tree.root + b"/" + _RULES
        statuses[tree.root], statuses[rules] = _status(tree.root), _status(rules)
        if any(pattern.startswith("!") for pattern in patterns) or (statuses[rules] and b"!" in _read(rules)):
            return None
    except OSError:
        return None
    if any(status is not None and max(status[1:3]) + RACY >= looked_at for status in statuses.values()):
        return None
    return Fingerprint(statuses)


def _status(path: bytes) -> StatusKey | None:
    try:
        return status_key(os.lstat(path))
    except FileNotFoundError:
        return None


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
