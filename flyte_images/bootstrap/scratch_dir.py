"""The directory in which a base is made: removed at the end, or by the next process if its own was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flyte_images_runtime.system.atomic import private_directory

from ..errors import FlyteImagesError

_PREFIX = "flyte-images-base-"
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class ScratchDir:
    """A directory, and the descriptor of the open file whose lock marks the directory as in use.

    A program that inherits the descriptor keeps the lock, so the directory is not removed under the program when this
    process is killed.
    """

    directory: Path
    lock_fd: int


@contextlib.contextmanager
def open_scratch_dir(environ: Mapping[str, str]) -> Iterator[ScratchDir]:
    """Make a directory in TMPDIR that other users may enter: without root, mmdebstrap runs as another user."""
    parent = Path(environ.get("TMPDIR") or tempfile.gettempdir())
    try:
        _sweep(parent, environ)
        new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))
        lock_fd = os.open(new / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock_fd, fcntl.LOCK_EX)
        new.chmod(0o755)
        directory = new.rename(parent / new.name.removeprefix("."))  # renamed when locked: no process removes it
    except OSError as error:
        raise FlyteImagesError(
            f"cannot make a directory in `{parent}`: {error.strerror}", hint="free some space, or set TMPDIR"
        ) from None
    try:
        yield ScratchDir(directory, lock_fd)
    finally:
        _remove(directory, environ)
        os.close(lock_fd)
        _sweep(parent, environ)  # directories that were in use at the beginning


@contextlib.contextmanager
def exclusive(path: Path, *, waiting: Callable[[], None]) -> Iterator[bool]:
    """Hold the lock file `path`. If another process holds the lock, call `waiting`, wait, and yield True."""
    try:
        private_directory(path.parent)
        file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise FlyteImagesError(
            f"cannot create `{path}`: {error.strerror}", hint="set FLYTE_IMAGES_CACHE to another directory"
        ) from None
    try:
        waited = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield waited
    finally:
        os.close(file)


def _sweep(parent: Path, environ: Mapping[str, str]) -> None:
    """Remove the directories of killed processes of this user, except those in which a program still runs."""
    for directory in parent.glob(f"{_PREFIX}*"):
        try:
            if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
                continue
            lock_fd = os.open(directory / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(directory, environ)
        except BlockingIOError:
            pass  # in use
        finally:
            os.close(lock_fd)


def _remove(directory: Path, environ: Mapping[str, str]) -> None:
    """Remove a scratch directory, unless a file system is mounted in it."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    if any(f"{line} ".split(" ")[4].startswith(f"{directory}/") for line in mounts.splitlines()):
        return
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():  # without root, a killed mmdebstrap leaves files of other users
        argv = ("mmdebstrap", "--unshare-helper", "rm", "-rf", "--one-file-system", str(directory))
        with contextlib.suppress(OSError):
            subprocess.run(argv, env=environ, stdin=subprocess.DEVNULL, capture_output=True)
