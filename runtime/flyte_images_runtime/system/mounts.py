"""Mounts that only one task sees, and that need no unmounting: they end with the last process of their namespace.

The namespace is made by a thread. Linux keeps namespaces and working directories by thread, and what the thread starts
inherits them; the thread then ends, and the container's runtime is all that holds the mounts. So a caller that is
killed at any moment leaves none behind.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")
_CLONE_NEWNS = 0x0002_0000
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC = 0x1, 0x2, 0x4, 0x8
_REMOUNT, BIND, RECURSIVE, PRIVATE = 0x20, 0x1000, 0x4000, 0x4_0000
_DETACH, _NOFOLLOW = 0x2, 0x8
_LONGEST = 4095  # one page of options, and its end

_libc = ctypes.CDLL(None, use_errno=True)


def in_own_namespace(work: Callable[[], _T]) -> _T:
    """Return what `work` returns. What it mounts is seen by it and by the processes that it starts, and by no other."""
    outcome: list[_T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            _check(_libc.unshare(_CLONE_NEWNS), "a mount namespace of its own")
            mount("none", "/", flags=RECURSIVE | PRIVATE)
            outcome.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="flyte-images-mounts")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def mount(source: str, target: str | Path, kind: str | None = None, *, flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    done = _libc.mount(
        source.encode(),
        os.fsencode(target),
        kind.encode() if kind else None,
        flags,
        options.encode() if options else None,
    )
    _check(done, f"{kind or 'a'} mount of `{source}` on `{target}`")


def bind(source: str | Path, target: str | Path, *, read_only: bool = False) -> None:
    """Show `source` at `target`."""
    mount(os.fspath(source), target, flags=BIND)
    if read_only:
        mount("none", target, flags=BIND | _REMOUNT | READ_ONLY)


def unmount(place: Path) -> None:
    """Take away what is mounted at `place`, if anything is; who still uses it keeps it."""
    _libc.umount2(os.fsencode(place), _DETACH | _NOFOLLOW)


def overlay(layers: Sequence[str], target: Path, *, upper: Path, work: Path, ordinary_user: bool = False) -> None:
    """Mount the layers, the topmost first, with what is written going to `upper`.

    Changes the working directory of the calling thread, so only for use in a namespace of its own: the kernel takes no
    more than a page of options, and an image may have a hundred layers.
    """
    root = os.path.commonpath([*layers]) if len(layers) > 1 else os.path.dirname(layers[0])  # noqa: PTH120
    names = [os.path.relpath(layer, root) for layer in layers]
    if any(set(name) & set(":\\,") for name in (*names, str(upper), str(work))):
        raise OSError(f"a layer's path has a character that overlay cannot take: {root}")
    options = f"lowerdir={':'.join(names)},upperdir={upper},workdir={work}"
    if ordinary_user:
        options += ",userxattr"  # its own marks are then attributes that such a user may set and read
    if len(options) > _LONGEST:
        raise OSError(f"an image of {len(layers)} layers is more than one overlay can have")
    os.chdir(root)
    mount("overlay", target, "overlay", options=options)
    os.chdir("/")


def _check(status: int, what: str) -> None:
    if status:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)}: {what}")
