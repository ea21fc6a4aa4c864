"""The part of cgroup version 2 that an ordinary user may order: where it is, or why there is none.

systemd gives one to a user's services and scopes that ask for it (Delegate=yes), batch systems and container engines
give one to a job. Version 1 cannot be given to users.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .hierarchies import Hierarchies, parse_mounts

_CALLERS = "flyte-images-callers"
_CONTROLLERS = ("cpu", "memory", "pids")


def own_part(mounts: str = "/proc/self/mounts", own: str = "/proc/self/cgroup") -> Hierarchies | None:
    """Return the hierarchy that begins at this process's cgroup; None if this user may not order it."""
    found = parse_mounts(Path(mounts).read_text(encoding="utf-8"))
    if found.version == 1 or found.unified is None:
        return None
    place = _place(found.unified, Path(own).read_text(encoding="utf-8"))
    needed = (place, place / "cgroup.procs", place / "cgroup.subtree_control")
    return Hierarchies(place, {}) if all(os.access(path, os.W_OK) for path in needed) else None


def _place(unified: Path, own: str) -> Path:
    """Where this process's cgroup is; above the one that `make_room` has put it in.

    >>> str(_place(Path("/sys/fs/cgroup"), "0::/user.slice/a.scope/flyte-images-callers\\n"))
    '/sys/fs/cgroup/user.slice/a.scope'
    """
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), "/")
    place = unified / path.lstrip("/")
    return place.parent if place.name == _CALLERS else place


def make_room(part: Hierarchies) -> None:
    """Let cgroups below have limits: the kernel wants that no process stands beside them, so these get one too."""
    place = part.unified
    assert place is not None
    with contextlib.suppress(FileExistsError):
        (place / _CALLERS).mkdir()
    for _ in range(10):  # what is started meanwhile is started in it
        pids = (place / "cgroup.procs").read_text(encoding="utf-8").split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (place / _CALLERS / "cgroup.procs").write_text(pid, encoding="utf-8")


def missing() -> tuple[str, str] | None:
    """Why this user's tasks can have no limits, and what helps; None: they can."""
    found = parse_mounts(Path("/proc/self/mounts").read_text(encoding="utf-8"))
    if found.version == 1:
        return (
            "this machine has cgroup version 1, of which nobody is given a part",
            "boot with systemd.unified_cgroup_hierarchy=1",
        )
    part = own_part()
    if part is None or part.unified is None:
        return "this process's cgroup is not this user's to order", _ASK_SYSTEMD
    there = (part.unified / "cgroup.controllers").read_text(encoding="utf-8").split()
    absent = [name for name in _CONTROLLERS if name not in there]
    return (f"its cgroup has no controller `{absent[0]}`", _ASK_SYSTEMD) if absent else None


_ASK_SYSTEMD = "start it by: systemd-run --user --scope -p Delegate=yes COMMAND"
