"""File systems that are mounted nowhere: this process reaches one through a descriptor.

A container is given one in a mount namespace of its own. When neither has it any more it is gone, however they ended.
For root, since Linux 5.2.
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
_HERE = -100  # AT_FDCWD

_libc = ctypes.CDLL(None, use_errno=True)


class Floating:
    """A file system, for as long as it is not closed. `path` is a directory in it, for this process alone."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._guard = threading.Lock()
        self._name = name
        # By its own name in it, as the descriptor's number can be another's when this one is closed.
        self.path = Path(f"/proc/self/fd/{descriptor}/{name}")

    def attach(self, place: Path) -> None:
        """Mount it at `place`, in the mount namespace of the calling thread. Its content is below its name there."""
        _call(_MOVE_MOUNT, self._descriptor, b"", _HERE, os.fsencode(place), _FROM_DESCRIPTOR)

    def below(self, place: Path, part: str) -> str:
        """Return where `part` is once the file system is attached at `place`."""
        return f"{place}/{self._name}/{part}"

    def close(self) -> None:
        """Free it, as soon as no container has it any more. A second time does nothing."""
        with self._guard:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1


def make_floating(kind: str, name: str, options: Mapping[str, str | None], attributes: int) -> Floating:
    """Make one of that kind with a directory `name` that all may pass. OSError where this kernel cannot."""
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
    made = Floating(descriptor, name)
    try:
        made.path.mkdir(mode=0o711)
    except OSError:
        made.close()
        raise
    return made


def _call(number: int, *arguments: object) -> int:
    done = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if done < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{os.strerror(error)}: a file system that is mounted nowhere")
    return done
