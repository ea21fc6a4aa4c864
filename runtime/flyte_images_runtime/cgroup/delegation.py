"""The part of cgroup version 2 that is delegated to an ordinary user: its place, or the reason why it is missing.

systemd delegates one to services and scopes of a user that ask for it (Delegate=yes); batch systems and container
engines delegate one to a job. Version 1 cannot be delegated.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .hierarchies import Hierarchies, parse_mounts

_CALLERS = "flyte-images-callers"
_CONTROLLERS = ("cpu", "memory", "pids")


def own_part(mounts: str = "/proc/self/mounts", own: str = "/proc/self/cgroup") -> Hierarchies | None:
    """Return the hierarchy that begins at this process's cgroup; None if the cgroup is not delegated to this user."""
    hierarchies = parse_mounts(Path(mounts).read_text(encoding="utf-8"))
    if hierarchies.version == 1 or hierarchies.unified is None:
        return None
    directory = _directory(hierarchies.unified, Path(own).read_text(encoding="utf-8"))
    needed = (directory, directory / "cgroup.procs", directory / "cgroup.subtree_control")
    return Hierarchies(directory, {}) if all(os.access(path, os.W_OK) for path in needed) else None


def _directory(unified: Path, own: str) -> Path:
    """Return the directory of this process's cgroup, as it was before `move_callers`.

    >>> str(_directory(Path("/sys/fs/cgroup"), "0::/user.slice/a.scope/flyte-images-callers\\n"))
    '/sys/fs/cgroup/user.slice/a.scope'
    """
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), "/")
    directory = unified / path.lstrip("/")
    return directory.parent if directory.name == _CALLERS else directory


def move_callers(part: Hierarchies) -> None:
    """Move the processes of the delegated cgroup into a cgroup below it, so that other cgroups below can have limits.

    The kernel gives limits to cgroups below another one only if no process is in the upper one itself.
    """
    directory = part.unified
    assert directory is not None
    with contextlib.suppress(FileExistsError):
        (directory / _CALLERS).mkdir()
    for _ in range(10):  # processes may start while others are moved
        pids = (directory / "cgroup.procs").read_text(encoding="utf-8").split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (directory / _CALLERS / "cgroup.procs").write_text(pid, encoding="utf-8")


def missing() -> tuple[str, str] | None:
    """Return why this user's tasks cannot have limits, and a remedy; None if they can."""
    if parse_mounts(Path("/proc/self/mounts").read_text(encoding="utf-8")).version == 1:
        return (
            "this machine has cgroup version 1, which cannot be delegated to users",
            "boot with systemd.unified_cgroup_hierarchy=1",
        )
    part = own_part()
    if part is None or part.unified is None:
        return "this process's cgroup is not delegated to this user", _ASK_SYSTEMD
    controllers = (part.unified / "cgroup.controllers").read_text(encoding="utf-8").split()
    absent = [name for name in _CONTROLLERS if name not in controllers]
    return (f"this process's cgroup has no controller `{absent[0]}`", _ASK_SYSTEMD) if absent else None


_ASK_SYSTEMD = "start the program with: systemd-run --user --scope -p Delegate=yes COMMAND"
