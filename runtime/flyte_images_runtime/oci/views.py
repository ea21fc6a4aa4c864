"""The views by which containerd keeps image layers for a store: their owners, and which are abandoned.

A view has labels with the store's identity (a file in the store), its path, and the place from which the path was seen.
A view is abandoned if the path, seen from the same place, no longer has that identity. Seen from another place, whose
mounts may differ, it is abandoned only if the store has not been used for a month as well.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..system.process_id import MACHINE, current
from . import snapshots

PREFIX = "flyte-images-"
STORE, PATH, PLACE, USED = (f"io.flyte-images.{name}" for name in ("store", "path", "place", "used"))
_IDENTITY = "identity"
_MONTH = 30 * 86400.0
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class View:
    """One abandoned view."""

    snapshots: snapshots.Snapshots
    key: str
    path: str

    def remove(self) -> None:
        with contextlib.suppress(snapshots.NoSnapshot):
            self.snapshots.drop(self.key)


def identity_of(store: Path) -> str:
    """Return the identity of the store. Make one if the store has none."""
    if identity := _read(store):
        return identity
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = store / f".{_IDENTITY}.{secrets.token_hex(8)}"
    temporary.write_text(secrets.token_hex(8), encoding="ascii")
    try:
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(temporary, store / _IDENTITY)
    finally:
        temporary.unlink()
    return _read(store) or ""


def labels(store: Path) -> dict[str, str]:
    """Return the labels of a view for `store`."""
    named = {STORE: identity_of(store), PATH: str(store.absolute()), PLACE: place()}
    return {**named, USED: str(int(time.time()))}


def place() -> str:
    """Return the place from which paths are seen: "machine", or one mount namespace of this boot."""
    space = str(Path("/proc/self/ns/mnt").readlink())
    with contextlib.suppress(OSError):
        if current().space == MACHINE and str(Path("/proc/1/ns/mnt").readlink()) == space:
            return "machine"
    return f"{current().boot}-{re.sub(r'[^0-9]', '', space)}"


def is_abandoned(marks: Mapping[str, str], now: float) -> bool:
    """Return whether a view with these labels has lost its store.

    >>> is_abandoned({}, 0.0)  # not one of these
    False
    """
    path, store, used = marks.get(PATH, ""), marks.get(STORE, ""), marks.get(USED, "")
    if not path or not store or not used.isdigit():
        return False
    try:
        if _read(Path(path)) == store:
            return False
    except OSError:  # the path cannot be read
        return False
    return marks.get(PLACE) == place() or now - int(used) > _MONTH


def abandoned() -> list[View]:
    """Return all abandoned views on this machine's containerds, as far as this user may ask them."""
    views: list[View] = []
    for socket in snapshots.reachable():
        containerd, now = snapshots.Snapshots(socket), time.time()
        with contextlib.suppress(snapshots.NoSnapshot):
            views += [
                View(containerd, key, marks[PATH])
                for key, marks in containerd.labelled(STORE).items()
                if key.startswith(PREFIX) and is_abandoned(marks, now)
            ]
    return views


def in_use(record: Path, key: str) -> None:
    """Record once a day that the view is used. The time of the file `record` is that of the last day."""
    try:
        if time.time() - record.stat().st_mtime < _DAY:
            return
        os.utime(record)
    except OSError:
        return
    threading.Thread(target=_renew, args=(key,), name="flyte-images-renew", daemon=True).start()


def _renew(key: str) -> None:
    for socket in snapshots.reachable():
        with contextlib.suppress(snapshots.NoSnapshot):
            snapshots.Snapshots(socket).label(key, USED, str(int(time.time())))


def _read(store: Path) -> str:
    """Return the identity of a store, empty if it has none. Raise OSError if it cannot be read."""
    try:
        return (store / _IDENTITY).read_text(encoding="ascii")
    except (FileNotFoundError, NotADirectoryError):
        return ""
