"""File systems without a mount point: this process reaches one through a descriptor.

A container gets the file system attached in the container's own mount namespace. The kernel frees the file system when
neither the process nor the container has it, however they ended. For root, from Linux 5.2 on.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Mapping
from pathlib import Path

# asm-generic/unistd.h: numbers from 424 on are the same for all machines; linux/mount.h
_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 429, 430, 431, 432
_CLOEXEC = 0x1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
NOSUID, NODEV, NOEXEC, NOATIME = 0x2, 0x4, 0x8, 0x10
_FROM_DESCRIPTOR = 0x4  # MOVE_MOUNT_F_EMPTY_PATH
_AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)


class FloatingMount:
    """A file system without a mount point, until `close`. `path` is a directory in it, for this process alone."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._guard = threading.Lock()
        self._name = name
        # With the directory's name, since the descriptor's number can be another file's after `close`.
        self.path = Path(f"/proc/self/fd/{descriptor}/{name}")

    def attach(self, target: Path) -> None:
        """Mount the file system at `target`, in the mount namespace of the calling thread."""
        _call(_MOVE_MOUNT, self._descriptor, b"", _AT_FDCWD, os.fsencode(target), _FROM_DESCRIPTOR)

    def below(self, target: Path, part: str) -> str:
        """Return the path of the entry `part` of `path`, once the file system is attached at `target`."""
        return f"{target}/{self._name}/{part}"

    def close(self) -> None:
        """Give the file system up: the kernel frees it when no container has it. A second call does nothing."""
        with self._guard:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1


def make_floating(kind: str, name: str, options: Mapping[str, str | None], attributes: int) -> FloatingMount:
    """Make a file system of that kind, with a directory `name` that all users may pass.

    Raise OSError where this kernel or this user cannot make it.
    """
    context = _call(_FSOPEN, kind.encode(), _CLOEXEC)
    try:
        for key, value in options.items():
            if value is None:
                _call(_FSCONFIG, context, _SET_FLAG, key.encode(), None, 0)
            else:
                _call(_FSCONFIG, context, _SET_STRING, key.encode(), value.encode(), 0)
        _call(_FSCONFIG, context, _CREATE, None, None, 0)
        descriptor = _call(_FSMOUNT, context, _CLOEXEC, attributes)
    finally:
        os.close(context)
    mounted = FloatingMount(descriptor, name)
    try:
        mounted.path.mkdir(mode=0o711)
    except OSError:
        mounted.close()
        raise
    return mounted


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{os.strerror(error)}: a file system without a mount point")
    return result
