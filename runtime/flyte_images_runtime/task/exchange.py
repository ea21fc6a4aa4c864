"""The exchange directories of one task: `in` (read-only for the task), `out` and `fast` (which the task writes).

`in` is in memory, so that arrays are mapped without a copy. `out` is on disk, since files in memory count against the
task's limit. `fast` is in memory, for large results that fit there. Where the engine can attach a file system without a
mount point, `fast` and large inputs are in huge pages (huge_pages.py).

For root, `out` is a disk of a given size (disk.py). An engine that takes paths of this machine sees the disk, and a
file system in memory for `fast`, mounted below the exchange's directories, without setuid programs and device nodes.

A container may have written anything to `out` and `fast`: a file of the wrong kind, a link or an endless file is
refused, and no link is followed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..resources.quantity import format_size
from ..system.floating_mounts import FloatingMount
from ..system.mounts import NO_DEV, NO_EXEC, NO_SUID, mount, unmount
from ..system.private_dirs import own_directories, own_directory
from ..system.process_id import new_name
from ..system.task_users import lend_user
from ..values import Files, Problem, open_regular
from ..values.budget import Budget
from ..worker import paths
from .disk import OUT, USUAL, Disks
from .huge_pages import make_huge_pages

_ENOUGH = 1 << 30  # bytes: if /dev/shm has fewer, the inputs are on disk too
ABOUT = "about.json"
_DISK = "disk"


@dataclass(slots=True)
class Exchange:
    """The directories of one task. `name` is the name of its container and its cgroup too; `run` is the run's id.

    `within` is the cgroup of another task, if this task counts against that task's limits.
    """

    name: str
    inputs: Path
    outputs: Path
    memory: Path
    run: str = ""
    within: str = ""
    large: FloatingMount | None = None
    """The file system of `memory` and of large inputs, if it has huge pages."""
    disk: FloatingMount | None = None
    """The file system of `outputs`, from `make_disk` on."""
    directory: Path = field(init=False)
    """The directory on disk."""
    ends: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False, compare=False)
    """Functions to call when the exchange is removed."""

    def __post_init__(self) -> None:
        self.directory = self.outputs.parent

    @property
    def group(self) -> str:
        """The path of the task's cgroup, below the cgroup of all tasks."""
        return f"{self.within}/{self.name}" if self.within else self.name

    def write_call(self, call: Any) -> None:
        """Write the document that the worker reads first."""
        path = self.inputs / "call.json"
        path.write_text(json.dumps(call), encoding="utf-8")
        path.chmod(0o644)

    def describe(self, *, task: str, image: str, engine: str) -> None:
        """Write the description of the task that execution/running_tasks.py lists."""
        about = {
            "task": task,
            "image": image,
            "engine": engine,
            "since": time.time(),
            "run": self.run,
            "group": self.group,
        }
        (self.inputs.parent / ABOUT).write_text(json.dumps(about), encoding="utf-8")

    def write_function(self, value: bytes, library: Path) -> None:
        """Write a pickled function, and the package that the worker needs to unpickle it."""
        (self.inputs / paths.FUNCTION).write_bytes(value)
        target = self.inputs / paths.PACKAGES / library.name
        target.mkdir(parents=True)
        for file in (*library.glob("*.py"), self.inputs / paths.FUNCTION):
            copy = target / file.name if file.parent == library else file
            if copy != file:
                copy.write_bytes(file.read_bytes())
            copy.chmod(0o644)

    def listen(self, name: str) -> socket.socket:
        """Return a listening socket in the inputs. The task can connect to it, although `in` is read-only."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        directory = os.open(self.inputs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            listener.bind(f"/proc/self/fd/{directory}/{name}")  # the full path may be too long for a socket
        finally:
            os.close(directory)
        (self.inputs / name).chmod(0o600)
        listener.listen(64)
        return listener

    def lend_user(self) -> int:
        """Return the number of a user and a group for this task alone, until the exchange is removed."""
        lent = lend_user()
        self.ends.callback(lent.give_back)
        return lent.number

    def make_disk(self, size: int | None, *, programs: bool) -> bool:
        """Put `outputs` on a disk of `size` bytes, by default `USUAL`. Return False where no disk can be made.

        With `programs`, files on the disk may be executed.
        """
        if os.geteuid() != 0:
            return False
        try:
            disk = _disks.take(size or USUAL, programs=programs)
        except OSError:
            return False
        self.outputs.rmdir()
        self.disk, self.outputs = disk, disk.path / OUT
        return True

    def show(self, memory: int) -> None:
        """Mount the disk, and a file system of `memory` bytes in memory, where an engine of this machine sees them."""
        assert self.disk is not None
        (self.directory / _DISK).mkdir()
        self.disk.attach(self.directory / _DISK)
        flags = NO_SUID | NO_DEV | NO_EXEC
        mount("flyte-images", self.memory, "tmpfs", flags=flags, options=f"mode=700,size={memory}")

    def on_disk(self, part: str) -> str:
        """Return the path of a part of the disk, for an engine that sees the mounts of `show`."""
        return str(self.outputs) if self.disk is None else self.disk.below(self.directory / _DISK, part)

    def give_to(self, user: int, group: int) -> None:
        """Let the container's user, and no other user, write the outputs and connect to the sockets."""
        if os.geteuid() != 0:
            return
        for path in (self.outputs, self.memory):
            os.chown(path, user, group)
        for name in (paths.HOST, paths.PROXY, paths.WORK, paths.SHELL):
            with contextlib.suppress(FileNotFoundError):
                os.chown(self.inputs / name, user, group, follow_symlinks=False)

    def read(self, name: str, budget: Budget) -> Any:
        """Return the JSON document that the task left as `name`, or None. Raise Problem for any other file."""
        directory = os.open(self.outputs, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            try:
                os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                return None
            with open_regular(name, directory) as file:
                size = os.fstat(file.fileno()).st_size
                content = b"" if size > budget.longest else file.read(budget.longest + 1)
        finally:
            os.close(directory)
        if size > budget.longest:
            hint = "return a table, an array or a File"
            raise Problem(f"{name} is longer than {format_size(budget.longest)}", hint=hint)
        return budget.loads(content)

    def time_of(self, name: str) -> float | None:
        """Return when the task wrote `name`, by this host's clock; None if it has not."""
        try:
            status = (self.outputs / name).lstat()
        except OSError:
            return None
        return status.st_mtime if stat.S_ISREG(status.st_mode) else None

    def input_files(self, number: str = "") -> Files:
        """Return the attachments of the arguments, of the only call or of the call `number`."""
        path = f"{self.inputs}/{number}".rstrip("/")
        if self.large is None:
            return Files(path)
        place = f"{self.large.path}/{paths.LARGE_IN}"
        return Files(path, f"{place}/{number}".rstrip("/"), room=lambda: _free(place))

    def output_files(self, number: str = "", *, budget: Budget) -> Files:
        """Return the attachments of the result. Reading them costs no more than the budget."""
        return Files(f"{self.outputs}/{number}".rstrip("/"), f"{self.memory}/{number}".rstrip("/"), budget=budget)

    def remove(self) -> None:
        """Remove the exchange. A disk goes in a thread, since the kernel takes some milliseconds for that."""
        if self.disk is None:
            self._remove()
        elif (self.directory / _DISK).exists():  # the disk is shown to an engine, so its mount point goes after it
            with contextlib.suppress(OSError):
                (self.inputs.parent / ABOUT).unlink()
            shutil.rmtree(self.inputs, ignore_errors=True)
            self._in_thread(self._remove)
        else:
            # The thread makes one system call after the other and no files: it would take the interpreter from the next
            # start hundreds of times.
            self._remove_files()
            self._in_thread(self._close)

    def _in_thread(self, work: Callable[[], object]) -> None:
        """Do `work` in a thread. The interpreter waits for its end, since the thread is not a daemon."""
        threading.Thread(target=work, name=f"removal of {self.name}").start()

    def _remove(self) -> None:
        self._remove_files()
        self._close()

    def _remove_files(self) -> None:
        if self.disk is not None:
            shutil.rmtree(self.disk.path, ignore_errors=True)  # otherwise the kernel first writes the files to disk
        for directory in (self.inputs.parent, self.directory):
            remove_directory(directory)

    def _close(self) -> None:
        for mount_ in (self.large, self.disk):
            if mount_ is not None:
                mount_.close()
        self.ends.close()


def _free(directory: str) -> int:
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def make_exchange(name: str | None = None, *, run: str = "", within: str = "", large_pages: bool = False) -> Exchange:
    """Make the directories of a new task. With `large_pages`, the engine can attach a file system with huge pages."""
    name = name or new_name()
    directories: list[Path] = []
    large = make_huge_pages(name) if large_pages and memory_base().parent == Path("/dev/shm") else None
    try:
        for base in (memory_base(), disk_base()):
            directory = _make_below(base, name)
            directories.append(directory)
        inputs, outputs = directories[0] / "in", directories[1] / OUT
        memory = (large.path if large else directories[0]) / paths.LARGE_OUT
        modes = [(inputs, 0o755), (outputs, 0o700), (memory, 0o700)]
        for directory, mode in [*modes, (large.path / paths.LARGE_IN, 0o755)] if large else modes:
            directory.mkdir()
            directory.chmod(mode)
    except BaseException:
        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)
        if large is not None:
            large.close()
        raise
    return Exchange(name, inputs, outputs, memory, run, within, large)


def _make_below(base: Path, name: str) -> Path:
    """Make `base`/`name`, again if another task has ended and removed `base` in between."""
    for _ in range(100):
        with contextlib.suppress(FileNotFoundError):
            directory = own_directory(base) / name
            directory.mkdir(mode=0o700)
            return directory
    raise FileNotFoundError(f"{base} is removed as soon as it is made")


def memory_base() -> Path:
    """Return the directory for inputs: in /dev/shm if it has enough room, else in the directory for temporary files."""
    with contextlib.suppress(OSError):
        free = os.statvfs("/dev/shm")
        if free.f_bavail * free.f_frsize >= _ENOUGH and os.access("/dev/shm", os.W_OK):
            return Path(f"/dev/shm/flyte-images-in-{os.getuid()}")
    return Path(tempfile.gettempdir()) / f"flyte-images-in-{os.getuid()}"


def disk_base() -> Path:
    """Return the directory for outputs: in /var/tmp, which is on disk, while /tmp may be in memory."""
    base = "/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir()
    return Path(base) / f"flyte-images-out-{os.getuid()}"


_disks = Disks(lambda: own_directory(disk_base()))


def refill_disks() -> None:
    """Make spare disks for the next tasks, while this process waits for a task."""
    _disks.refill()


def remove_directory(directory: Path) -> None:
    """Remove a task's directory, and the directory of all tasks if it is empty."""
    shutil.rmtree(directory, ignore_errors=True)
    if os.geteuid() == 0 and directory.exists():
        for name in (_DISK, paths.LARGE_OUT):
            unmount(directory / name)
        shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):
        directory.parent.rmdir()


def shown_disks(mounts: str) -> list[Path]:
    """Return where the disks of this user's tasks are mounted, by a file like /proc/self/mounts."""
    base = str(disk_base())
    targets = (line.split()[1] for line in Path(mounts).read_text(encoding="utf-8").splitlines())
    return [Path(target) for target in targets if target.startswith(base)]


def remove_entry(path: str) -> bool:
    """Remove a file, or a directory with all its entries. Return False if it still exists."""
    try:  # usually it does not exist
        status = os.lstat(path)  # os, since a Path would slow each short call down
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)  # noqa: PTH108
    except OSError:
        pass
    return not os.path.lexists(path)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a directory before a call writes to it: its mode, and inode and change time of each entry."""

    directory: str
    mode: int
    entries: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, directory: Path) -> Snapshot:
        entries = {path.name: _identity(str(path)) for path in directory.iterdir()}
        return cls(str(directory), directory.stat().st_mode, entries)

    def restore(self) -> bool:
        """Remove new entries. Return False if one remains, or if an old entry was changed or removed."""
        names = os.listdir(self.directory)  # noqa: PTH208 a Path would slow each short call down
        unchanged = 0
        for name in names:
            path = f"{self.directory}/{name}"
            if name in self.entries and _identity(path) == self.entries[name]:
                unchanged += 1
            elif not remove_entry(path):
                return False
        return unchanged == len(self.entries) and os.lstat(self.directory).st_mode == self.mode


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_ino, status.st_ctime_ns


def left_over(prefix: str) -> list[Path]:
    """Return the directories of all tasks whose name begins with `prefix`."""
    directories: list[Path] = []
    for base in (memory_base(), disk_base()):
        for parent in own_directories(base):
            with contextlib.suppress(OSError):
                directories += [entry for entry in parent.iterdir() if entry.name.startswith(prefix)]
    return directories
