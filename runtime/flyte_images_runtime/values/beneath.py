"""Where a link leads from a directory that it must not leave. The kernel resolves the link, as it will when it is used.

`openat2` with RESOLVE_BENEATH does so in one step. Where the kernel or a filter of system calls has no `openat2`, this
module resolves the components one by one, in the same order.
"""

from __future__ import annotations

import errno
import os
import stat

INSIDE, NOWHERE, OUT, LOOP = "inside", "nowhere", "out", "loop"
_OPENAT2 = 437
_NO_MAGICLINKS, _BENEATH = 0x02, 0x08
_MOST = 40  # links in one path, as in the kernel
_FLAGS = os.O_PATH | os.O_CLOEXEC


def where(root: int, path: str) -> str:
    """Return where `path` leads from the directory behind the descriptor `root`, links followed.

    INSIDE: to an entry below `root`. NOWHERE: to a missing entry. OUT: out of `root`. LOOP: to no end, or unknown.
    """
    target = by_kernel(root, path)
    return by_steps(root, path) if target is None else target


def by_kernel(root: int, path: str) -> str | None:
    """Return `where` by `openat2`; None where `openat2` is missing."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    how = (ctypes.c_uint64 * 3)(_FLAGS, 0, _BENEATH | _NO_MAGICLINKS)
    for _ in range(100):
        fd = libc.syscall(_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            os.close(fd)
            return INSIDE
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    if number in (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG):
        return None
    return {errno.EXDEV: OUT, errno.ENOENT: NOWHERE, errno.ENOTDIR: NOWHERE}.get(number, LOOP)


def by_steps(root: int, path: str) -> str:
    """Return `where` by a walk over the components."""
    directories = [os.dup(root)]
    try:
        return _walk(directories, path.split("/"))
    finally:
        for fd in directories:
            os.close(fd)


def _walk(directories: list[int], steps: list[str]) -> str:
    """Follow `steps` from the last of the open directories. The first one is the root, which is never left."""
    links = 0
    steps = steps[::-1]
    while steps:
        step = steps.pop()
        if step in ("", "."):
            continue
        if step == "..":
            if len(directories) == 1:
                return OUT
            os.close(directories.pop())
            continue
        try:
            status = os.stat(step, dir_fd=directories[-1], follow_symlinks=False)
        except OSError as error:
            return NOWHERE if error.errno in (errno.ENOENT, errno.ENOTDIR) else LOOP
        if stat.S_ISLNK(status.st_mode):
            links += 1
            target = os.readlink(step, dir_fd=directories[-1])
            if target.startswith("/"):
                return OUT
            if links > _MOST:
                return LOOP
            steps += target.split("/")[::-1]
        elif stat.S_ISDIR(status.st_mode):
            directories.append(os.open(step, _FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directories[-1]))
        elif any(each not in ("", ".") for each in steps):
            return NOWHERE
    return INSIDE


def stays_by_name(depth: int, target: str) -> bool:
    """Return whether a link to a missing entry stays inside, `depth` directories below the root.

    >>> stays_by_name(1, "../later"), stays_by_name(1, "../../later"), stays_by_name(1, "later/../../../etc")
    (True, False, False)
    """
    steps = [step for step in target.split("/") if step not in ("", ".")]
    up = 0
    while up < len(steps) and steps[up] == "..":
        up += 1
    return not target.startswith("/") and up <= depth and ".." not in steps[up:]
