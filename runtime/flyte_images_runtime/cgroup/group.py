"""Make, read and remove a task's cgroup, on either version. On version 1 it is one directory in each hierarchy."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ..resources.limits import Limits
from ..resources.metrics import Usage
from .delegation import make_room, own_part
from .hierarchies import Hierarchies, parse_mounts
from .usage import read_usage, traffic

PARENT = "flyte-images"
_PERIOD = 100_000  # microseconds, the kernel's and Docker's default
_V2_CONTROLLERS = ("cpu", "memory", "pids", "io", "cpuset")


@dataclass(frozen=True, slots=True)
class Group:
    """A task's cgroup. `engine_parent` is what the engine is told.

    `name` is a path where the task counts against the limits of another one, whose group this one is then below.
    """

    name: str
    hierarchies: Hierarchies

    @property
    def engine_parent(self) -> str:
        return f"/{PARENT}/{self.name}"

    @property
    def directory(self) -> Path:
        """Its only directory, on version 2."""
        assert self.hierarchies.unified is not None
        return self.hierarchies.unified / PARENT / self.name

    def usage(self) -> Usage:
        """What the task has used until now; also after its end."""
        return read_usage(self._read)

    def now(self) -> Usage:
        """The same while it runs, with what went over its network, if that is not the host's own."""
        usage = self.usage()
        for pid in self.processes():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
                    continue
                moved = traffic(Path(f"/proc/{pid}/net/dev").read_text(encoding="utf-8"))
                return usage if moved is None else replace(usage, received_bytes=moved[0], sent_bytes=moved[1])
        return usage

    def exists(self) -> bool:
        """Is it there?"""
        return any((root / PARENT / self.name).is_dir() for root in self.hierarchies.roots())

    def holds(self, container: str) -> bool:
        """Has the engine put the container below this group? It cannot where it runs on another host."""
        return any((root / PARENT / self.name / container).is_dir() for root in self.hierarchies.roots())

    def processes(self) -> list[int]:
        """The pids of everything that runs in it."""
        root = self.hierarchies.legacy.get("pids") or self.hierarchies.unified
        found: list[int] = []
        if root is not None:
            for place, _, _ in os.walk(root / PARENT / self.name):  # which passes over what goes away meanwhile
                with contextlib.suppress(OSError):
                    found += map(int, Path(place, "cgroup.procs").read_text(encoding="utf-8").split())
        return found

    def kill(self) -> bool:
        """End all that runs in it. Was there anything? 0, a process of another namespace, would be our own group."""
        found = False
        for pid in filter(None, self.processes()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                found = True
        return found

    def remove(self) -> bool:
        return remove_group(self.name, self.hierarchies)

    def _read(self, file: str) -> str | None:
        controller = "cpu" if file == "cpu.stat" else file.partition(".")[0]
        root = self.hierarchies.legacy.get(controller) or self.hierarchies.unified
        if root is None:
            return None
        try:
            return (root / PARENT / self.name / file).read_text(encoding="utf-8")
        except OSError:
            return None


def found_hierarchies(mounts: str = "/proc/self/mounts") -> Hierarchies | None:
    """Where this process may make cgroups: anywhere if it is root's, else in its own part, if it has one."""
    if os.geteuid() == 0:
        return parse_mounts(Path(mounts).read_text(encoding="utf-8"))
    return own_part(mounts)


def exists(name: str) -> bool:
    """Has the task of that name a cgroup?"""
    return any((root / PARENT / name).is_dir() for root in existing(name).hierarchies.roots())


def existing(name: str) -> Group:
    """The task's cgroup as somebody made it, whether or not it is still there."""
    return Group(name, found_hierarchies() or parse_mounts(Path("/proc/self/mounts").read_text(encoding="utf-8")))


def make_group(name: str, limits: Limits, *, pids: int, mounts: str = "/proc/self/mounts") -> Group | None:
    """Make the cgroup and set the limits on it; None where this process may not."""
    hierarchies = found_hierarchies(mounts)
    if hierarchies is None:
        return None
    group = Group(name, hierarchies)
    try:
        if os.geteuid() != 0:
            make_room(hierarchies)
        for root in group.hierarchies.roots():
            _make_below(root / PARENT, name)
        if group.hierarchies.version == 1:
            _limit_v1(group, limits, pids)
        else:
            _limit_v2(group, limits, pids)
    except OSError:
        group.remove()
        return None
    return group


def _make_below(parent: Path, name: str) -> None:
    for _ in range(100):
        with contextlib.suppress(FileNotFoundError):  # the last task to end has just removed the parent
            with contextlib.suppress(FileExistsError):  # `exist_ok` looks again, and by then it may be gone
                parent.mkdir()
            (parent / name).mkdir()
            return
    raise FileNotFoundError(str(parent))


def _limit_v1(group: Group, limits: Limits, pids: int) -> None:
    legacy = group.hierarchies.legacy

    def write(controller: str, file: str, value: int) -> None:
        (legacy[controller] / PARENT / group.name / file).write_text(str(value), encoding="utf-8")

    if limits.cpu is not None:
        write("cpu", "cpu.cfs_period_us", _PERIOD)
        write("cpu", "cpu.cfs_quota_us", max(1000, int(limits.cpu * _PERIOD)))
    if limits.memory is not None:
        write("memory", "memory.limit_in_bytes", limits.memory)
        with contextlib.suppress(OSError):  # kernels without swap accounting have no such file
            write("memory", "memory.memsw.limit_in_bytes", limits.memory)
    if "pids" in legacy:
        write("pids", "pids.max", pids)


def _limit_v2(group: Group, limits: Limits, pids: int) -> None:
    root = group.hierarchies.unified
    assert root is not None
    own = root / PARENT / group.name
    for above in (root, *reversed([place for place in own.parents if place.is_relative_to(root / PARENT)])):
        for controller in _V2_CONTROLLERS:
            with contextlib.suppress(OSError):  # one that is not there is missed below, where it is needed
                (above / "cgroup.subtree_control").write_text(f"+{controller}", encoding="utf-8")
    if limits.cpu is not None:
        (own / "cpu.max").write_text(f"{max(1000, int(limits.cpu * _PERIOD))} {_PERIOD}")
    if limits.memory is not None:
        (own / "memory.max").write_text(str(limits.memory), encoding="utf-8")
        (own / "memory.oom.group").write_text("1", encoding="utf-8")  # the task dies as a whole, not one child of it
        with contextlib.suppress(OSError):  # kernels without swap
            (own / "memory.swap.max").write_text("0", encoding="utf-8")
    (own / "pids.max").write_text(str(pids), encoding="utf-8")


def remove_group(name: str, hierarchies: Hierarchies | None = None) -> bool:
    """Remove a task's cgroup and what the engine left below it. True if nothing of it is left."""
    found = hierarchies or found_hierarchies()
    gone = True
    if found is None:
        return gone
    for root in found.roots():
        top = root / PARENT / name
        for attempt in range(20):
            if _remove_tree(top):
                break
            time.sleep(0.005 * (attempt + 1))  # a dying process still counts
        gone = gone and not top.exists()
        with contextlib.suppress(OSError):  # the last one takes along what it is below: they are in use else
            for above in Path(PARENT, name).parents:
                if above.name:
                    (root / above).rmdir()
    return gone


def _remove_tree(top: Path) -> bool:
    # the files of a cgroup vanish with it: only directories are removed, from the inside out
    try:
        for path, _, _ in os.walk(top, topdown=False):
            os.rmdir(path)
    except FileNotFoundError:
        return not top.exists()
    except OSError:
        return False
    return True


def group_names(prefix: str) -> set[str]:
    """The task cgroups on this host whose name begins so."""
    names: set[str] = set()
    found = found_hierarchies()
    for root in found.roots() if found else ():
        with contextlib.suppress(OSError):
            below = (root / PARENT).iterdir()
            names.update(entry.name for entry in below if entry.name.startswith(prefix) and entry.is_dir())
    return names
