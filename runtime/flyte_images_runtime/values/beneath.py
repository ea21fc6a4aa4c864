"""Where a link leads, from a directory that it must not leave: asked of the kernel, which is what follows it later.

`openat2` with RESOLVE_BENEATH answers it in one step. Where the kernel or a filter of system calls has no `openat2`,
each component is looked at here, in the same order.
"""

from __future__ import annotations

import errno
import os
import stat

INSIDE, NOWHERE, OUT, LOOP = "inside", "nowhere", "out", "loop"
_OPENAT2 = 437
_NO_MAGICLINKS, _BENEATH = 0x02, 0x08
_MOST = 40  # links on one way, as in the kernel
_FLAGS = os.O_PATH | os.O_CLOEXEC


def where(root: int, path: str) -> str:
    """Where `path` leads below the directory behind the descriptor `root`, links followed.

    INSIDE: to something below it. NOWHERE: to something that is not there. OUT: out of it. LOOP: never to an end.
    """
    found = by_kernel(root, path)
    return by_steps(root, path) if found is None else found


def by_kernel(root: int, path: str) -> str | None:
    """`where`, by `openat2`; None where there is none."""
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
    """`where`, component by component."""
    way = [os.dup(root)]
    try:
        return _walk(way, path.split("/"))
    finally:
        for fd in way:
            os.close(fd)


def _walk(way: list[int], steps: list[str]) -> str:
    """Follow `steps` from the last directory of `way`, the first of which is never left."""
    links = 0
    steps = steps[::-1]
    while steps:
        step = steps.pop()
        if step in ("", "."):
            continue
        if step == "..":
            if len(way) == 1:
                return OUT
            os.close(way.pop())
            continue
        try:
            found = os.stat(step, dir_fd=way[-1], follow_symlinks=False)
        except OSError as error:
            return NOWHERE if error.errno in (errno.ENOENT, errno.ENOTDIR) else LOOP
        if stat.S_ISLNK(found.st_mode):
            links += 1
            target = os.readlink(step, dir_fd=way[-1])
            if target.startswith("/"):
                return OUT
            if links > _MOST:
                return LOOP
            steps += target.split("/")[::-1]
        elif stat.S_ISDIR(found.st_mode):
            way.append(os.open(step, _FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=way[-1]))
        elif any(each not in ("", ".") for each in steps):
            return NOWHERE
    return INSIDE


def stays_by_name(depth: int, target: str) -> bool:
    """Would a link to something that is not there yet stay inside, `depth` directories below the root?

    >>> stays_by_name(1, "../later"), stays_by_name(1, "../../later"), stays_by_name(1, "later/../../../etc")
    (True, False, False)
    """
    steps = [step for step in target.split("/") if step not in ("", ".")]
    up = 0
    while up < len(steps) and steps[up] == "..":
        up += 1
    return not target.startswith("/") and up <= depth and ".." not in steps[up:]
