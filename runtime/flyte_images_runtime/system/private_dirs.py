"""Directories in places where another user may have made the same name first: /dev/shm, /tmp, /var/tmp.

A private directory there is this user's alone, or it is not used. A shared one belongs to root or to this user, and its
sticky bit protects each user's files from the other users.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from pathlib import Path


def own_directory(base: Path) -> Path:
    """Return the directory `base`, made if necessary, or a directory beside it where `base` is another user's.

    The other name is random, so a user who takes the first name cannot keep other users from running tasks.
    """
    for _ in range(100):
        with contextlib.suppress(FileExistsError):  # not `exist_ok`, which fails if the directory is removed meanwhile
            base.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            if _is_private(base.lstat()):
                return base
            others = own_directories(base)
            base = others[0] if others else base.with_name(f"{base.name}-{os.urandom(8).hex()}")
    raise FileNotFoundError(f"{base} is removed as soon as it is made")


def own_directories(base: Path) -> list[Path]:
    """Return the existing directories that `own_directory(base)` may have returned."""
    directories = []
    with contextlib.suppress(OSError), os.scandir(base.parent) as entries:
        for entry in entries:
            if entry.name == base.name or entry.name.startswith(f"{base.name}-"):
                with contextlib.suppress(FileNotFoundError):
                    if _is_private(entry.stat(follow_symlinks=False)):
                        directories.append(base.parent / entry.name)
    return sorted(directories)


def _is_private(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def problem_of_shared(path: Path) -> str | None:
    """Return why the directory `path` cannot be shared with other users; None if it can."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a directory"
    if status.st_uid not in (0, os.geteuid()):
        return f"it belongs to {user_name(status.st_uid)}, who can remove its files"
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        return f"its mode {stat.S_IMODE(status.st_mode):o} lets every user remove its files"
    return None


def user_name(uid: int) -> str:
    """Return a user's name and number, for messages."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"user {uid}"
