"""Make, read and remove a task's cgroup, on both versions. On version 1, a cgroup is a directory in each hierarchy."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ..resources.limits import Limits
from ..resources.metrics import Usage
from .delegation import move_callers, own_part
from .hierarchies import Hierarchies, parse_mounts
from .usage import read_usage, traffic

PARENT = "flyte-images"
_PERIOD = 100_000  # microseconds, the kernel's and Docker's default
_V2_CONTROLLERS = ("cpu", "memory", "pids", "io", "cpuset")


@dataclass(frozen=True, slots=True)
class Group:
    """A task's cgroup. `engine_parent` is the parent of the container's cgroup, for the engine.

    `name` is a path if the task counts against the limits of another task: its cgroup is then below the other's.
    """

    name: str
    hierarchies: Hierarchies

    @property
    def engine_parent(self) -> str:
        """The path by which an engine puts the container's cgroup below this one."""
        return f"/{PARENT}/{self.name}"

    @property
    def directory(self) -> Path:
        """The cgroup's only directory, on version 2."""
        assert self.hierarchies.unified is not None
        return self.hierarchies.unified / PARENT / self.name

    def usage(self) -> Usage:
        """Return what the task has used until now, or until its end."""
        return read_usage(self._read)

    def usage_with_traffic(self) -> Usage:
        """Return the usage of a running task, with the bytes over its network, unless that is the host's network."""
        usage = self.usage()
        for pid in self.processes():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
                    continue
                bytes_ = traffic(Path(f"/proc/{pid}/net/dev").read_text(encoding="utf-8"))
                return usage if bytes_ is None else replace(usage, received_bytes=bytes_[0], sent_bytes=bytes_[1])
        return usage

    def exists(self) -> bool:
        """Return whether the cgroup exists."""
        return any((root / PARENT / self.name).is_dir() for root in self.hierarchies.roots())

    def holds(self, container: str) -> bool:
        """Return whether the engine has put the container below this cgroup. An engine on another host cannot."""
        return any((root / PARENT / self.name / container).is_dir() for root in self.hierarchies.roots())

    def processes(self) -> list[int]:
        """Return the pids of all processes in the cgroup and below it; 0 stands for one of another pid namespace."""
        root = self.hierarchies.legacy.get("pids") or self.hierarchies.unified
        pids: list[int] = []
        if root is not None:
            for directory, _, _ in os.walk(root / PARENT / self.name):  # which skips directories that vanish
                with contextlib.suppress(OSError):
                    pids += map(int, Path(directory, "cgroup.procs").read_text(encoding="utf-8").split())
        return pids

    def kill(self) -> bool:
        """Kill all processes in the cgroup. Return whether there was one."""
        killed = False
        for pid in filter(None, self.processes()):  # kill(0) would kill this process's own process group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                killed = True
        return killed

    def remove(self) -> bool:
        """Remove the cgroup. Return whether it is gone."""
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


def writable_hierarchies(mounts: str = "/proc/self/mounts") -> Hierarchies | None:
    """Return where this process may make cgroups: anywhere as root, else in the delegated part, or None."""
    if os.geteuid() == 0:
        return parse_mounts(Path(mounts).read_text(encoding="utf-8"))
    return own_part(mounts)


def exists(name: str) -> bool:
    """Return whether the task of that name has a cgroup."""
    return group_of(name).exists()


def group_of(name: str) -> Group:
    """Return the cgroup of a task that another process may have made, and that may be gone."""
    return Group(name, writable_hierarchies() or parse_mounts(Path("/proc/self/mounts").read_text(encoding="utf-8")))


def make_group(name: str, limits: Limits, *, pids: int, mounts: str = "/proc/self/mounts") -> Group | None:
    """Make a cgroup with these limits, and at most `pids` processes; return None where this process may not."""
    hierarchies = writable_hierarchies(mounts)
    if hierarchies is None:
        return None
    group = Group(name, hierarchies)
    try:
        if os.geteuid() != 0:
            move_callers(hierarchies)
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
        with contextlib.suppress(FileNotFoundError):  # another task has just ended and removed the parent
            with contextlib.suppress(FileExistsError):  # not `exist_ok`, which fails if it is removed meanwhile
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
            with contextlib.suppress(OSError):  # without a needed controller, a write below fails
                (above / "cgroup.subtree_control").write_text(f"+{controller}", encoding="utf-8")
    if limits.cpu is not None:
        (own / "cpu.max").write_text(f"{max(1000, int(limits.cpu * _PERIOD))} {_PERIOD}")
    if limits.memory is not None:
        (own / "memory.max").write_text(str(limits.memory), encoding="utf-8")
        (own / "memory.oom.group").write_text("1", encoding="utf-8")  # the kernel kills all of the task, not one child
        with contextlib.suppress(OSError):  # kernels without swap
            (own / "memory.swap.max").write_text("0", encoding="utf-8")
    (own / "pids.max").write_text(str(pids), encoding="utf-8")


def remove_group(name: str, hierarchies: Hierarchies | None = None) -> bool:
    """Remove a task's cgroup with all cgroups below it. Return whether it is gone."""
    hierarchies = hierarchies or writable_hierarchies()
    gone = True
    if hierarchies is None:
        return gone
    for root in hierarchies.roots():
        top = root / PARENT / name
        for attempt in range(20):
            if _remove_tree(top):
                break
            time.sleep(0.005 * (attempt + 1))  # a dying process still counts
        gone = gone and not top.exists()
        with contextlib.suppress(OSError):  # remove the cgroups above too, unless another task is below them
            for above in Path(PARENT, name).parents:
                if above.name:
                    (root / above).rmdir()
    return gone


def _remove_tree(top: Path) -> bool:
    # a cgroup's files vanish with its directory, so only directories are removed, from the inside out
    try:
        for path, _, _ in os.walk(top, topdown=False):
            os.rmdir(path)
    except FileNotFoundError:
        return not top.exists()
    except OSError:
        return False
    return True


def group_names(prefix: str) -> set[str]:
    """Return the names of the cgroups of tasks on this host that begin with `prefix`."""
    names: set[str] = set()
    hierarchies = writable_hierarchies()
    for root in hierarchies.roots() if hierarchies else ():
        with contextlib.suppress(OSError):
            entries = (root / PARENT).iterdir()
            names.update(entry.name for entry in entries if entry.name.startswith(prefix) and entry.is_dir())
    return names
