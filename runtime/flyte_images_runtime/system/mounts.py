"""Mounts that only one task sees. They need no unmounting: they end with the last process of their mount namespace.

A thread makes the namespace. On Linux each thread has a namespace and a working directory, and the processes that the
thread starts inherit them. The thread then ends, so only the container's runtime holds the mounts, and a caller that is
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
_LONGEST = 4095  # bytes of options: one page without the final null

_libc = ctypes.CDLL(None, use_errno=True)


def in_own_namespace(work: Callable[[], _T]) -> _T:
    """Call `work` in a new mount namespace; return its result. Only `work` and the processes that it starts see it."""
    outcome: list[_T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            _check(_libc.unshare(_CLONE_NEWNS), "unshare the mount namespace")
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
    """Call mount(2). Raise OSError where it fails."""
    status = _libc.mount(
        source.encode(),
        os.fsencode(target),
        kind.encode() if kind else None,
        flags,
        options.encode() if options else None,
    )
    _check(status, f"{kind or 'a'} mount of `{source}` on `{target}`")


def bind(source: str | Path, target: str | Path, *, read_only: bool = False) -> None:
    """Mount the file or directory `source` at `target` too."""
    mount(os.fspath(source), target, flags=BIND)
    if read_only:
        mount("none", target, flags=BIND | _REMOUNT | READ_ONLY)


def unmount(target: Path) -> None:
    """Detach what is mounted at `target`, if anything is. Processes that use the file system keep it."""
    _libc.umount2(os.fsencode(target), _DETACH | _NOFOLLOW)


def overlay(layers: Sequence[str], target: Path, *, upper: Path, work: Path, ordinary_user: bool = False) -> None:
    """Mount the layers, the topmost first, as one file system; writes go to `upper`.

    The calling thread's working directory changes, so call this in a thread with its own namespace: the kernel accepts
    one page of options, and relative names let an image have a hundred layers.
    """
    root = os.path.commonpath([*layers]) if len(layers) > 1 else os.path.dirname(layers[0])  # noqa: PTH120
    names = [os.path.relpath(layer, root) for layer in layers]
    if any(set(name) & set(":\\,") for name in (*names, str(upper), str(work))):
        raise OSError(f"a layer's path has a character that overlay cannot take: {root}")
    options = f"lowerdir={':'.join(names)},upperdir={upper},workdir={work}"
    if ordinary_user:
        options += ",userxattr"  # overlayfs then marks files with attributes that an ordinary user may set and read
    if len(options) > _LONGEST:
        raise OSError(f"an image of {len(layers)} layers has too many for one overlay")
    os.chdir(root)
    mount("overlay", target, "overlay", options=options)
    os.chdir("/")


def _check(status: int, action: str) -> None:
    if status:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)}: {action}")
