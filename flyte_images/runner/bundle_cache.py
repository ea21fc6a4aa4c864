"""Code bundles, the copies of source trees that are kept for the next run: which are in use, unchanged, or removed.

A process that uses a bundle holds a lock on the bundle's directory. The kernel releases the lock when the process ends,
even when it is killed. A bundle that no process holds is removed when no run has used it for a week. When all bundles
together are more than 2 GiB, the oldest go first.

A seal is kept beside each bundle: the status of each file as it was written. When a file has another status, another
program has changed it, and the bundle is made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from flyte_images_runtime.system.atomic import private_directory
from flyte_images_runtime.system.process_id import new_name

from ..store import json_cache
from ..store.bounded_dir import BoundedDirectory, size_of

UNUSED = 7 * 86400.0  # seconds
LARGEST = 2 << 30  # bytes
_MOST_HELD = 64  # bundles that one process holds: those that it used last
_SEAL = ".json"
_LOCK = ".lock"


class HeldBundles:
    """The bundles that this process holds against removal by another one."""

    def __init__(self) -> None:
        self._descriptors: dict[Path, int] = {}

    def acquire(self, bundle: Path) -> bool:
        """Hold the bundle for as long as this process runs. Return False if the bundle does not exist."""
        try:
            os.utime(bundle)
            if bundle in self._descriptors:
                return True
            directory = os.open(bundle, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            self.release(bundle)
            return False
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(directory, fcntl.LOCK_SH)
        if not bundle.exists():  # another process removed it before the lock was taken
            os.close(directory)
            return False
        self._descriptors[bundle] = directory
        if len(self._descriptors) > _MOST_HELD:
            self.release(next(iter(self._descriptors)))
        return True

    def release(self, bundle: Path) -> None:
        """Let other processes remove the bundle."""
        directory = self._descriptors.pop(bundle, None)
        if directory is not None:
            os.close(directory)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let one process at a time check, make and seal bundles: a bundle without its seal looks damaged."""
    private_directory(directory)
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def seal(bundle: Path) -> None:
    """Record the status of each file of the bundle. A bundle whose seal cannot be written is made again."""
    files = _statuses(bundle)
    size = sum(status[1] for status in files.values() if len(status) > 1)
    with contextlib.suppress(OSError):
        json_cache.save(_seal_of(bundle), {"size": size, "files": files})


def is_unchanged(bundle: Path) -> bool:
    """Return whether the bundle's files are as they were sealed. Remove byte code that is not as it was sealed."""
    try:
        sealed = json_cache.load(_seal_of(bundle))["files"]
        files = _statuses(bundle)
        for name in [name for name in files if _is_byte_code(name) and files[name] != sealed.get(name)]:
            if len(files.pop(name)) > 1:
                (bundle / name).unlink()
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return files == {name: status for name, status in sealed.items() if name in files or not _is_byte_code(name)}


def retire(bundle: Path) -> None:
    """Remove a damaged bundle. If a task still uses the bundle, rename it instead, so that a new one can be made."""
    bundles = bundles_in(bundle.parent)
    for entry in bundles.entries():
        if entry.name == bundle.name and not bundles.remove(entry):
            with contextlib.suppress(OSError):
                bundle.rename(bundle.with_name(f"{bundle.name}-{new_name()}"))


def bundles_in(directory: Path, *, unused: float = UNUSED, largest: int = LARGEST) -> BoundedDirectory:
    """Return the bundles in `directory`, with their bounds in seconds and bytes."""
    return BoundedDirectory(
        path=directory, unused=unused, largest=largest, entry_of=_entry_of, claim=_claim, measure=_size
    )


def _entry_of(name: str) -> str | None:
    return name.removesuffix(_SEAL) if not name.startswith(".") else None


def _seal_of(bundle: Path) -> Path:
    return bundle.with_name(bundle.name + _SEAL)


def _size(paths: Sequence[Path]) -> int:
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        return int(json_cache.load(_seal_of(paths[0]))["size"])
    return size_of(paths)


@contextlib.contextmanager
def _claim(bundle: Path) -> Iterator[bool]:
    """Lock the bundle against use by another process. Yield False if a process uses the bundle."""
    directory = os.open(bundle, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(directory)


def _is_byte_code(name: str) -> bool:
    return "__pycache__" in name.split("/")


def _statuses(bundle: Path) -> dict[str, list[int]]:
    """Return, by name, the mode of each directory, and the mode, size, times and inode of each file."""
    statuses: dict[str, list[int]] = {}
    todo = [""]
    while todo:
        folder = todo.pop()
        with os.scandir(bundle / folder) as items:
            for item in items:
                status = item.stat(follow_symlinks=False)
                name = folder + item.name
                if stat.S_ISDIR(status.st_mode):
                    statuses[name] = [status.st_mode]
                    todo.append(name + "/")
                else:
                    times = (status.st_mtime_ns, status.st_ctime_ns)
                    statuses[name] = [status.st_mode, status.st_size, *times, status.st_ino]
    return statuses
