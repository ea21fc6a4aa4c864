"""A disk of a given size for one task: a file system in a sparse file. What does not fit finds no room, as anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ..failures import EngineLost
from ..quantity import format_size

SMALLEST = 4 << 20  # with less there is no room for the file system's own tables
_PROGRAMS = ("mkfs.ext4", "mount")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def check(size: int, task: str) -> None:
    """Raise EngineLost if such a disk cannot be had."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    if not Path("/dev/loop-control").exists():
        missing.append("/dev/loop-control")
    if missing:
        raise EngineLost(
            f"the disk of task `{task}` cannot be limited: there is no {missing[0]}",
            task=task,
            hint="leave disk= out, or install e2fsprogs and mount",
        )
    if size < SMALLEST:
        raise EngineLost(
            f"a disk of {format_size(size)} is too small for a file system",
            task=task,
            hint=f'disk="{format_size(SMALLEST)}" at least',
        )


def mount_new(file: Path, place: Path, size: int) -> None:
    """Make the disk and mount it at `place`, with a `tmp` for everyone on it. In a mount namespace of the task's own.

    The kernel frees the loop device with the last mount of it, and the file is removed with its directory.
    """
    with file.open("xb") as made:
        os.ftruncate(made.fileno(), size)
    # no journal and no reserve for root: it lives for one task, and the task gets what it asked for
    _run("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", str(file))
    _run("mount", "-o", "loop,nosuid,nodev,noatime", str(file), str(place))
    (place / "tmp").mkdir()
    (place / "tmp").chmod(0o1777)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, env={"PATH": _PATH}, cwd="/", check=False)
    if done.returncode:
        raise OSError(f"{argv[0]}: {done.stderr.strip()[-300:]}")
