"""Checks and preparations that several engines share: a start fails early if this machine lacks what a task needs."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from ..cgroup import Group, make_group
from ..errors import EngineLost, ImageCannotStart
from ..resources.quantity import format_size
from ..task import disk
from ..task.exchange import Exchange
from ..task.spec import SHARE_THE_KERNEL, TaskSpec

_TUN = "/dev/net/tun"
_FIRST = (1000, 1000)
_ENGINE_PROCESSES = 16  # a container runtime and its helpers count against the cgroup of the task


def task_group(spec: TaskSpec, exchange: Exchange) -> Group | None:
    """Make the cgroup of a task, with its limits. Return None where this process may not make cgroups."""
    return make_group(exchange.group, spec.limits, pids=spec.hardening.pids + _ENGINE_PROCESSES)


def check_sources(spec: TaskSpec) -> None:
    """Raise EngineLost for a mount whose source does not exist: an engine may make an empty directory instead."""
    for one in spec.mounts:
        if not Path(one.source).exists():
            raise EngineLost(f"mount `{one.source}` does not exist", task=spec.task, hint="make it, or leave it out")


def check_room(spec: TaskSpec, host: str, *, cores: int, memory: int) -> None:
    """Raise EngineLost for more than `host` has. 0 stands for an unknown number."""
    limits = spec.limits
    if limits.cpu is not None and cores and limits.cpu > cores:
        raise EngineLost(
            f"task `{spec.task}` may use {limits.cpu} CPUs, {host} has {cores}",
            task=spec.task,
            hint=f'Resources(cpu="{cores}") at most',
        )
    if limits.memory is not None and memory and limits.memory > memory:
        raise EngineLost(
            f"task `{spec.task}` may use {format_size(limits.memory)} of memory, {host} has {memory >> 20}Mi",
            task=spec.task,
            hint=f'Resources(memory="{memory >> 20}Mi") at most',
        )


def check_names(spec: TaskSpec) -> None:
    """Raise EngineLost for a list in network= on a runtime that cannot hand a socket to this machine."""
    runtime = spec.hardening.runtime
    if spec.reaches and runtime not in SHARE_THE_KERNEL:
        raise EngineLost(
            f"`{runtime}` does not let task `{spec.task}` reach the proxy of network={list(spec.reaches)}",
            task=spec.task,
            hint='network="none"; or leave runtime= out',
        )


def check_disk(spec: TaskSpec, *, why_not: str | None = None) -> None:
    """Raise EngineLost if the task's disk limit cannot be kept, for the reason `why_not` if there is one."""
    if spec.limits.disk is None:
        return
    if why_not is not None:
        raise EngineLost(
            f"the disk of task `{spec.task}` cannot be limited: {why_not}",
            task=spec.task,
            hint="leave disk= out, or mount a directory of a file system of that size",
        )
    disk.check(spec.limits.disk, spec.task)


@functools.lru_cache(maxsize=16)
def sees_our_mounts(socket_path: str) -> bool:
    """Return whether the process that listens at the socket sees the mounts of this process."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            link.connect(socket_path)
            pid, _, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        theirs, ours = (Path(f"/proc/{one}/ns/mnt").stat() for one in (pid, "self"))
    except OSError:
        return False
    return pid > 0 and (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def set_up_disk(spec: TaskSpec, exchange: Exchange, shm: int, address: str) -> None:
    """Make a disk for the task and show it to the engine at `address`, where possible."""
    path = address.removeprefix("unix://")
    seen = os.geteuid() == 0 and sees_our_mounts(path)
    if seen and exchange.make_disk(spec.limits.disk, programs=spec.limits.disk is not None):
        exchange.show(shm)
    elif spec.limits.disk is not None:
        raise EngineLost(f"the disk of task `{spec.task}` could not be made", task=spec.task, hint="leave disk= out")


def why_no_disk(spec: TaskSpec, engine: str, address: str) -> str | None:
    """Return the reason why an engine that takes paths of this machine cannot limit the task's disk, or None."""
    if os.geteuid() != 0:
        return "only root can make a disk of a given size"
    if not spec.hardening.read_only_root:
        return f"what a task writes to its root is in the {engine} engine's own store"
    if not sees_our_mounts(address.removeprefix("unix://")):
        return f"the {engine} engine does not see what is mounted here"
    return None


def check_user(spec: TaskSpec, engine: str) -> None:
    """Raise EngineLost for a user by name: the owner of the outputs must be known before the start."""
    user = spec.hardening.user
    if user is not None and not all(part.isdigit() for part in user.split(":")):
        raise EngineLost(
            f"the {engine} engine takes users by number: `{user}`", task=spec.task, hint='user="1000:1000"'
        )


def user_of(spec: TaskSpec, exchange: Exchange) -> tuple[int, int]:
    """Return the task's user and group: those of the environment, else the caller's; for root a user of no other task.

    Only the image knows a user by name. The first account of an image has the number 1000.
    """
    user, _, group = (spec.hardening.user or "").partition(":")
    if user.isdigit():
        return int(user), int(group) if group.isdigit() else int(user)
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    if user:
        return _FIRST
    number = exchange.lend_user()
    return number, number


def why_the_image(message: str, spec: TaskSpec) -> ImageCannotStart | None:
    """Return the error for an image that a runtime cannot start, with a remedy.

    None if `message` is about other things.
    """
    lower = message.lower()
    if "executable file" in lower or (
        ("no such file" in lower or "not found" in lower) and f"{spec.python}" in message and "exec" in lower
    ):
        return ImageCannotStart(
            f"image {spec.image} has no `{spec.python}`",
            task=spec.task,
            hint="a task's image needs Python 3.8 or newer",
        )
    if "exec format error" in lower:
        return ImageCannotStart(
            f"image {spec.image} is for another kind of processor", task=spec.task, hint="build it for this platform"
        )
    return None


def runtime_missing(message: str) -> bool:
    """Return whether the lower-case message of containerd means that it lacks the OCI runtime."""
    return "unknown or invalid runtime" in message or ("runtime" in message and "not installed" in message)


def check_cable(spec: TaskSpec, programs: Sequence[str] = ("slirp4netns", "pasta")) -> None:
    """Raise EngineLost if an ordinary user cannot connect a task to the network here."""
    if not any(map(shutil.which, programs)):
        raise EngineLost(
            f"task `{spec.task}` cannot use the network: an ordinary user needs {' or '.join(programs)}",
            task=spec.task,
            hint='install slirp4netns; or network="none" or "host"',
        )
    if not os.access(_TUN, os.R_OK | os.W_OK):
        raise EngineLost(
            f"task `{spec.task}` cannot use the network: this user may not open {_TUN}",
            task=spec.task,
            hint=f'as root: chmod 0666 {_TUN}; or network="none" or "host"',
        )
