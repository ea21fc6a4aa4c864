"""The directory in which a base is made: gone at the end, and swept by the next one where a process was killed."""

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
class Workplace:
    """A directory, and the open file whose lock says that it is in use.

    A program that inherits the file keeps the directory from being swept after this process was killed.
    """

    directory: Path
    held: int


@contextlib.contextmanager
def workplace(environ: Mapping[str, str]) -> Iterator[Workplace]:
    """A new directory in TMPDIR that others may enter: where there is no root, mmdebstrap is another user."""
    parent = Path(environ.get("TMPDIR") or tempfile.gettempdir())
    try:
        _sweep(parent, environ)
        new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))
        held = os.open(new / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        new.chmod(0o755)
        directory = new.rename(parent / new.name.removeprefix("."))  # nobody sweeps it before it is locked
    except OSError as error:
        raise FlyteImagesError(
            f"no directory can be made in `{parent}`: {error.strerror}", hint="make room there, or set TMPDIR"
        ) from None
    try:
        yield Workplace(directory, held)
    finally:
        _remove(directory, environ)
        os.close(held)
        _sweep(parent, environ)  # what was still in use at the beginning


@contextlib.contextmanager
def alone(path: Path, *, waiting: Callable[[], None]) -> Iterator[bool]:
    """Hold the lock file `path`. Where another process holds it first, `waiting` is called, and True is given."""
    try:
        private_directory(path.parent)
        file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise FlyteImagesError(
            f"`{path}` cannot be made: {error.strerror}", hint="set FLYTE_IMAGES_CACHE to another directory"
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
    """Remove what killed processes of this user have left, if nothing that they started is still at work there."""
    for directory in parent.glob(f"{_PREFIX}*"):
        try:
            if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
                continue
            held = os.open(directory / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(directory, environ)
        except BlockingIOError:
            pass  # in use
        finally:
            os.close(held)


def _remove(directory: Path, environ: Mapping[str, str]) -> None:
    """Remove a workplace, but never through something that is mounted there."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    if any(f"{line} ".split(" ")[4].startswith(f"{directory}/") for line in mounts.splitlines()):
        return
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():  # without root, a killed mmdebstrap leaves files of other users of its namespace
        argv = ("mmdebstrap", "--unshare-helper", "rm", "-rf", "--one-file-system", str(directory))
        with contextlib.suppress(OSError):
            subprocess.run(argv, env=environ, stdin=subprocess.DEVNULL, capture_output=True)
