"""A disk of a given size for one task: a file system in a sparse file without a name.

A write beyond the size fails, as on any full disk. The kernel frees the file, its loop device and the file system with
the last process or mount namespace that has them, however these end.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import shutil
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import EngineLost
from ..resources.quantity import format_size
from ..system.floating_mounts import NOATIME, NODEV, NOEXEC, NOSUID, FloatingMount, make_floating
from ..worker.paths import RESERVE

OUT = "out"
USUAL = 16 << 30
"""Bytes that a task may write without `disk=`."""
SMALLEST = 4 << 20  # a smaller disk cannot hold the file system's own tables
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_CONTROL = "/dev/loop-control"
_MODELS = Path("/run/flyte-images-disks")  # an empty disk of each size, some kilobytes; only root can write to /run
_GET_FREE, _CONFIGURE = 0x4C82, 0x4C0A
_AUTOCLEAR = 4
_RESERVED = 1 << 18  # bytes
# without a journal and a reserve for root: the disk is for one task, which gets the whole size
_FEATURES = ("-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard")


def problem() -> tuple[str, str] | None:
    """Return why disks cannot be made here, and a remedy; None if they can."""
    if os.geteuid() != 0:
        return "only root can make a disk", "leave disk= out, or mount a directory of a file system of that size"
    if shutil.which("mkfs.ext4", path=_PATH) is None:
        return "mkfs.ext4 is not installed", "leave disk= out, or install e2fsprogs"
    if not Path(_CONTROL).exists():
        return f"{_CONTROL} is missing", "leave disk= out, or load the kernel's module `loop`"
    return None


def check(size: int, task: str) -> None:
    """Raise EngineLost if a disk of `size` bytes cannot be made."""
    if (reason := problem()) is not None:
        raise EngineLost(f"the disk of task `{task}` cannot be limited: {reason[0]}", task=task, hint=reason[1])
    if size < SMALLEST:
        raise EngineLost(
            f"a disk of {format_size(size)} is too small for a file system",
            task=task,
            hint=f'disk="{format_size(SMALLEST)}" at least',
        )


class Disks:
    """Makes the disks of one process. A size that was asked for twice gets a spare disk at each `refill`."""

    def __init__(self, place: Callable[[], Path]) -> None:
        self._place = place
        self._guard = threading.Lock()
        self._asked: set[tuple[int, int, bool]] = set()
        self._missing: set[tuple[int, int, bool]] = set()
        self._spare: dict[tuple[int, int, bool], FloatingMount] = {}

    def take(self, size: int, *, programs: bool) -> FloatingMount:
        """Return a disk of `size` bytes. With `programs`, files on it may be executed.

        Raise OSError where this machine cannot make a disk.
        """
        key = (os.getpid(), size, programs)  # with the pid, since a fork must not take its parent's spare disk
        with self._guard:
            (self._missing if key in self._asked else self._asked).add(key)
            spare = self._spare.pop(key, None)
        return spare or make_disk(self._place(), size, programs=programs)

    def refill(self) -> None:
        """Make the missing spare disks in a thread.

        Call this while a task runs and this process waits: the thread takes the interpreter from a start that it meets.
        """
        with self._guard:
            missing, self._missing = self._missing, set()
        if missing:
            threading.Thread(target=self._make, args=(missing,), daemon=True, name="flyte-images-disk").start()

    def _make(self, missing: set[tuple[int, int, bool]]) -> None:
        for key in missing:
            with contextlib.suppress(OSError):
                disk = make_disk(self._place(), key[1], programs=key[2])
                with self._guard:
                    surplus, self._spare[key] = self._spare.get(key), disk
                if surplus is not None:
                    surplus.close()


def make_disk(place: Path, size: int, *, programs: bool) -> FloatingMount:
    """Make a disk with the directories of a task, in a file of the directory `place`."""
    name = os.urandom(8).hex()
    path = place / f"disk-{name}"
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        path.unlink()
        os.ftruncate(file, size)
        for at, content in _model(size):
            os.pwrite(file, content, at)
        device = _attach(file)
    finally:
        os.close(file)
    try:
        options = {"source": device.path, "noinit_itable": None, "nobarrier": None}
        disk = make_floating("ext4", name, options, NOSUID | NODEV | NOATIME | (0 if programs else NOEXEC))
    finally:
        os.close(device.file)
    try:
        for part, mode in ((OUT, 0o700), ("tmp", 0o1777), ("upper", 0o755), ("work", 0o755)):
            (disk.path / part).mkdir()
            (disk.path / part).chmod(mode)
        _reserve(disk.path / OUT / RESERVE)
    except BaseException:
        disk.close()
        raise
    return disk


def _reserve(path: Path) -> None:
    """Reserve room for the worker's report on a task that has filled the disk."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(file, 0, _RESERVED)
    finally:
        os.close(file)


class _Device:
    """A loop device, which the kernel frees with its last user."""

    def __init__(self, path: str, file: int) -> None:
        self.path = path
        self.file = file


def _attach(file: int) -> _Device:
    information = struct.pack("5Q4I64s64s32s2Q", *[0] * 8, _AUTOCLEAR, b"", b"", b"", 0, 0)
    configuration = struct.pack("2I", file, 0) + information + bytes(64)
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(100):
            path = f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}"
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _CONFIGURE, configuration)
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:  # busy: another process has taken the device
                    raise
            else:
                return _Device(path, device)
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no loop device is free")


@functools.lru_cache(maxsize=8)
def _model(size: int) -> tuple[tuple[int, bytes], ...]:
    """Return the non-zero parts of an empty disk of that size, each with its offset."""
    model = _MODELS / str(size)
    if not model.exists():
        _MODELS.mkdir(mode=0o700, exist_ok=True)
        fresh = model.with_name(f"{size}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            with fresh.open("xb") as target:
                os.ftruncate(target.fileno(), size)
            argv = ("mkfs.ext4", "-q", "-F", "-m", "0", "-i", "16384", *_FEATURES, str(fresh))
            process = subprocess.run(argv, capture_output=True, text=True, env={"PATH": _PATH}, cwd="/", check=False)
            if process.returncode:
                raise OSError(f"mkfs.ext4: {process.stderr.strip()[-300:]}")
            fresh.rename(model)
        finally:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
    parts = []
    with model.open("rb") as file:
        at = 0
        with contextlib.suppress(OSError):  # ENXIO: no data after this offset
            while True:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
                at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                parts.append((start, os.pread(file.fileno(), at - start, start)))
    return tuple(parts)
