"""Remove what a call of a warm container has left outside its own memory, or report that this is not possible.

The caller empties the exchange directories, since the caller may remove files that this user cannot.
"""

from __future__ import annotations

import os
import resource

from flyte_images_runtime.worker import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_QUEUES = "/dev/mqueue"
_TABLES = ("/proc/sysvipc/shm", "/proc/sysvipc/sem", "/proc/sysvipc/msg")
_LIMITS = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
_CLEAN_TMP = [paths.HOME[5:]]  # the names in /tmp where a call has left nothing
_SCHEDULING = ("sched_getscheduler", "sched_getaffinity")


class Tidy:
    """The state of the container before the first call, to which `clean` returns it."""

    def __init__(self) -> None:
        self._tables = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in _TABLES if os.path.exists(path)]
        self._has_queues = os.path.isdir(_QUEUES)
        self._home = os.environ.get("HOME") == paths.HOME
        self._shared, self._settings = self._ipc(), self._process()

    def clean(self) -> bool:
        """Remove what a call has left, when no process of the call is alive. Return False if traces of it remain."""
        clean = self._settings == self._process() and self._shared == self._ipc()
        for directory in ("/tmp", "/dev/shm", _QUEUES) if self._has_queues else ("/tmp", "/dev/shm"):
            clean = _empty(directory) and clean
        if self._home and not os.path.lexists(paths.HOME):
            try:
                os.mkdir(paths.HOME, 0o700)
            except OSError:
                pass
        return clean

    def _ipc(self) -> list[int]:
        """Return the numbers of System V objects. These are rare: a container with new ones is not used again."""
        return [os.pread(table, 4096, 0).count(b"\n") for table in self._tables]

    def _process(self) -> Any:
        """Return the settings of this process that another process of the same user can change."""
        scheduling = [getattr(os, name)(0) for name in _SCHEDULING if hasattr(os, name)]
        return [resource.getrlimit(limit) for limit in _LIMITS], os.getpriority(os.PRIO_PROCESS, 0), scheduling


def _empty(directory: str) -> bool:
    try:
        if not (names := os.listdir(directory)) or (names == _CLEAN_TMP and _is_new(paths.HOME)):
            return True
        with os.scandir(directory) as scan:
            entries = list(scan)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    clean = True
    for entry in entries:
        clean = _remove(entry) and clean
    return clean


def _is_new(directory: str) -> bool:
    return os.lstat(directory).st_mode == 0o40700 and not os.listdir(directory)


def _remove(entry: Any) -> bool:
    try:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
            return True
        try:
            os.rmdir(entry.path)
        except OSError:
            _remove_tree(entry.path)
    except (OSError, RecursionError):
        return False
    return True


def _remove_tree(path: str) -> None:
    """Remove a directory. A call may have taken the permissions on it from its own user, who is this process's too."""
    os.chmod(path, 0o700)
    with os.scandir(path) as scan:
        entries = list(scan)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            _remove_tree(entry.path)
        else:
            os.unlink(entry.path)
    os.rmdir(path)
