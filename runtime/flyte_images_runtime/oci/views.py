"""The views by which containerd keeps image layers for a store of ours: whose they are, and when nobody's any more.

A view bears the store's identity (a file in it), its path, and the place from which that path was seen. It is abandoned
if the path, seen from the same place, no longer holds that identity; from another place, whose mounts may be others,
only if the store has not been used for a month as well.
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
    """The store's own, made now if it has none yet."""
    if known := _read(store):
        return known
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = store / f".{_IDENTITY}.{secrets.token_hex(8)}"
    temporary.write_text(secrets.token_hex(8), encoding="ascii")
    try:
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(temporary, store / _IDENTITY)
    finally:
        temporary.unlink()
    return _read(store) or ""


def labels(store: Path) -> dict[str, str]:
    """What a view for `store` bears."""
    named = {STORE: identity_of(store), PATH: str(store.absolute()), PLACE: place()}
    return {**named, USED: str(int(time.time()))}


def place() -> str:
    """From where paths are seen: the machine itself, or one mount namespace of this boot."""
    space = str(Path("/proc/self/ns/mnt").readlink())
    with contextlib.suppress(OSError):
        if current().space == MACHINE and str(Path("/proc/1/ns/mnt").readlink()) == space:
            return "machine"
    return f"{current().boot}-{re.sub(r'[^0-9]', '', space)}"


def is_abandoned(said: Mapping[str, str], now: float) -> bool:
    """Is nobody going to use a view with those labels?

    >>> is_abandoned({}, 0.0)  # not one of these
    False
    """
    path, store, used = said.get(PATH, ""), said.get(STORE, ""), said.get(USED, "")
    if not path or not store or not used.isdigit():
        return False
    try:
        if _read(Path(path)) == store:
            return False
    except OSError:  # it cannot be looked at
        return False
    return said.get(PLACE) == place() or now - int(used) > _MONTH


def abandoned() -> list[View]:
    """All abandoned views on this machine's containerds, as far as this user may ask them."""
    found: list[View] = []
    for socket in snapshots.reachable():
        one, now = snapshots.Snapshots(socket), time.time()
        with contextlib.suppress(snapshots.NoSnapshot):
            found += [
                View(one, key, said[PATH])
                for key, said in one.labelled(STORE).items()
                if key.startswith(PREFIX) and is_abandoned(said, now)
            ]
    return found


def in_use(record: Path, key: str) -> None:
    """Say once a day that the view is used: `record` is the file by whose time that is known."""
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
    """Its identity; empty if there is none. OSError if that cannot be known."""
    try:
        return (store / _IDENTITY).read_text(encoding="ascii")
    except (FileNotFoundError, NotADirectoryError):
        return ""
