"""A file system in memory whose large files lie in large pages: a gigabyte is written in a fifth of the time.

It is mounted nowhere: this process reaches it through a descriptor, a container is given it in a mount namespace of its
own, and when neither has it any more it is gone, however they ended. For root, since Linux 5.2.
"""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path

# asm-generic/unistd.h: numbers from 424 on are the same for all machines; linux/mount.h
_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 429, 430, 431, 432
_CLOEXEC = 0x1
_SET_STRING, _CREATE = 1, 6
_NOSUID, _NODEV = 0x2, 0x4
_FROM_DESCRIPTOR = 0x4  # MOVE_MOUNT_F_EMPTY_PATH
_HERE = -100  # AT_FDCWD
_POLICY = b"within_size"  # a large page for what is known to fill one: a small file has a small page

_libc = ctypes.CDLL(None, use_errno=True)


class LargePages:
    """The file system, for as long as it is not closed. `path` is for this process and its threads alone."""

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
        """Where `part` is once it is attached at `place`."""
        return f"{place}/{self._name}/{part}"

    def close(self) -> None:
        """Free it, as soon as no container has it any more. A second time does nothing."""
        with self._guard:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1


def make_large_pages(name: str) -> LargePages | None:
    """Make such a file system with a directory `name`; None where this process or this kernel cannot."""
    if os.geteuid() != 0:
        return None
    try:
        context = _call(_FSOPEN, b"tmpfs", _CLOEXEC)
        try:
            for key, value in ((b"huge", _POLICY), (b"mode", b"711")):
                _call(_FSCONFIG, context, _SET_STRING, key, value, 0)
            _call(_FSCONFIG, context, _CREATE, None, None, 0)
            descriptor = _call(_FSMOUNT, context, _CLOEXEC, _NOSUID | _NODEV)
        finally:
            os.close(context)
    except OSError:
        return None
    made = LargePages(descriptor, name)
    try:
        made.path.mkdir(mode=0o711)
    except OSError:
        made.close()
        return None
    return made


def _call(number: int, *arguments: object) -> int:
    done = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if done < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{os.strerror(error)}: a file system in large pages")
    return done
