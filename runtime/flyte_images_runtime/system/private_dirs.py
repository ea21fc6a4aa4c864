"""Directories in places where every user may make a name first: /dev/shm, /tmp, /var/tmp.

A directory there is this user's alone, or it is not used. One that all users share belongs to root or to this user, and
its sticky bit keeps each user's files from the others.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from pathlib import Path


def private_directory(base: Path) -> Path:
    """Return the directory `base`, and make it if it is not there; another name beside it where `base` is not ours.

    The other name cannot be foreseen: a user who takes the first one keeps nobody from running tasks.
    """
    for _ in range(100):
        with contextlib.suppress(FileExistsError):  # `exist_ok` looks again, and by then it may be gone
            base.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            if _is_private(base.lstat()):
                return base
            others = private_directories(base)
            base = others[0] if others else base.with_name(f"{base.name}-{os.urandom(8).hex()}")
    raise FileNotFoundError(f"{base} is removed as soon as it is made")


def private_directories(base: Path) -> list[Path]:
    """Return what `private_directory(base)` may have returned, as far as it is still there."""
    found = []
    with contextlib.suppress(OSError), os.scandir(base.parent) as entries:
        for entry in entries:
            if entry.name == base.name or entry.name.startswith(f"{base.name}-"):
                with contextlib.suppress(FileNotFoundError):
                    if _is_private(entry.stat(follow_symlinks=False)):
                        found.append(base.parent / entry.name)
    return sorted(found)


def _is_private(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def problem_of_shared(path: Path) -> str | None:
    """Say why the directory `path` cannot be shared with other users; None: it can."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return "it is not a directory"
    if found.st_uid not in (0, os.geteuid()):
        return f"it belongs to {user_name(found.st_uid)}, who can remove what is in it"
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        return f"its mode {stat.S_IMODE(found.st_mode):o} lets every user remove what is in it"
    return None


def user_name(uid: int) -> str:
    """Return the words for a user: the name and the number."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"user {uid}"
