"""TaskSpec -> config.json, the OCI runtime's description of a container. Pure.

A task gets the same rights as on the docker engine: `Hardening` names every item that is loosened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..gpu.cdi import Edits
from ..task.exchange import Exchange
from ..task.spec import TaskSpec
from ..worker import paths
from .rootfs import Rootfs
from .seccomp import capability, profile

VERSION = "1.0.2"  # every runc since 1.0 and crun since 0.15 knows it
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_CAPABILITY_SETS = ("bounding", "effective", "permitted")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNumber:
    """A device node of the host: its kind, `c` or `b`, and its numbers."""

    kind: str
    major: int
    minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Decisions made at the start, which the specification does not contain.

    cgroup    where the container's own cgroup is made, below that of the task
    open_files, processes  as many as the caller itself may have
    ordinary_user  the runtime runs in a user namespace, and another process makes its cgroup
    groups    (directory of the host, path in the container) of the task's cgroup, readable inside; outermost first
    large     where the file system in huge pages is attached; "" if the exchange has none
    disk      where the task's disk is attached; "" if the exchange has none
    files     (file of the host, path in the container): hosts, resolv.conf, hostname
    network   "new": an empty network namespace; "inherited": the namespace of the process that starts the runtime
    edits     the edits of leased devices; `nodes` has the numbers of their device nodes by host path
    """

    user: tuple[int, int]
    library: str
    shm: int
    cgroup: str
    environment: Mapping[str, str]
    tmp: str | None = None
    large: str = ""
    disk: str = ""
    groups: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    network: Literal["new", "inherited"] = "new"
    edits: Edits = field(default_factory=Edits)
    nodes: Mapping[str, NodeNumber] = field(default_factory=dict)
    open_files: int = 1 << 20
    apparmor: str | None = None
    ordinary_user: bool = False
    processes: int = 1 << 22


def bundle_config(spec: TaskSpec, exchange: Exchange, rootfs: Rootfs, settings: Settings) -> dict[str, Any]:
    """Return the document. The root filesystem is the directory `rootfs` beside it."""
    return {
        "ociVersion": VERSION,
        "hostname": "task",
        "root": {"path": "rootfs", "readonly": spec.hardening.read_only_root},
        "process": _process(spec, rootfs, settings),
        "mounts": _mounts(spec, exchange, settings),
        "hooks": _hooks(settings.edits),
        "linux": _linux(spec, settings),
    }


def _process(spec: TaskSpec, rootfs: Rootfs, settings: Settings) -> dict[str, Any]:
    image = dict(line.partition("=")[::2] for line in rootfs.env)
    devices = dict(line.partition("=")[::2] for line in settings.edits.env)
    env = {"PATH": _PATH, **image, "HOSTNAME": "task", **devices, **settings.environment}
    capabilities = sorted(capability(name) for name in spec.hardening.capabilities)
    # a process that is not root inside needs its capabilities inherited
    sets = (*_CAPABILITY_SETS, "inheritable", "ambient") if settings.user[0] else _CAPABILITY_SETS
    rlimits = [("RLIMIT_NOFILE", settings.open_files), ("RLIMIT_CORE", 0)]
    if settings.ordinary_user:  # the kernel counts in this user namespace, with or without a cgroup
        rlimits.append(("RLIMIT_NPROC", min(spec.hardening.pids, settings.processes)))
    process = {
        "terminal": False,
        "user": {
            "uid": settings.user[0],
            "gid": settings.user[1],
            "additionalGids": sorted({settings.user[1], *settings.edits.groups}),
        },
        "args": paths.command(spec.python),
        "env": [f"{name}={value}" for name, value in env.items()],
        "cwd": spec.workdir or rootfs.workdir or "/",
        "capabilities": dict.fromkeys(sets, capabilities),
        "noNewPrivileges": not spec.hardening.new_privileges,
        "oomScoreAdj": 500,  # the kernel kills the task before the host's processes
        "rlimits": [{"type": kind, "soft": most, "hard": most} for kind, most in rlimits],
    }
    return {**process, "apparmorProfile": settings.apparmor} if settings.apparmor else process


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _mounts(spec: TaskSpec, exchange: Exchange, settings: Settings) -> list[dict[str, Any]]:
    mounts = [
        _mount("/proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        _mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", f"size={settings.shm}", source="shm"),
        _mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _sys(spec, settings),
        _bind(settings.tmp, "/tmp", "rw", "nosuid", "nodev")
        if settings.tmp
        else _mount("/tmp", "tmpfs", "nosuid", "nodev", "mode=1777", f"size={settings.shm}"),
        _bind(settings.library, f"{paths.LIB}/flyte_images_runtime", "ro"),
        _bind(str(exchange.inputs), paths.IN, "ro", "nosuid", "nodev"),
        _bind(_outputs(exchange, settings), paths.OUT, "rw", "nosuid", "nodev", "noexec"),
        *_memory(exchange, settings),
    ]
    mounts += [_bind(host, place, "ro", "nosuid", "noexec", "nodev") for host, place in settings.groups]
    mounts += [_bind(host, place, "ro") for host, place in settings.files]
    mounts += [_bind(root, f"{paths.CODE}/{at}", "ro") for at, root in enumerate(spec.code.copies or spec.code.roots)]
    mounts += [_bind(mount.source, mount.target, "ro" if mount.read_only else "rw") for mount in spec.mounts]
    if settings.ordinary_user:
        mounts += [_bind(node.host, node.path, "rw") for node in settings.edits.nodes]
    mounts += [
        {"destination": mount.path, "type": mount.type, "source": mount.host, "options": list(mount.options)}
        for mount in settings.edits.mounts
    ]
    return mounts


def _outputs(exchange: Exchange, settings: Settings) -> str:
    return str(exchange.outputs) if exchange.disk is None else exchange.disk.below(Path(settings.disk), "out")


def _memory(exchange: Exchange, settings: Settings) -> list[dict[str, Any]]:
    """Return the mounts of large values: arguments and results."""
    if exchange.large is None:
        return [_bind(str(exchange.memory), paths.FAST, "rw", "nosuid", "nodev", "noexec")]
    place = Path(settings.large)
    return [
        _bind(exchange.large.below(place, paths.LARGE_IN), paths.LARGE, "ro", "nosuid", "nodev"),
        _bind(exchange.large.below(place, paths.LARGE_OUT), paths.FAST, "rw", "nosuid", "nodev", "noexec"),
    ]


def _sys(spec: TaskSpec, settings: Settings) -> dict[str, Any]:
    """Return the mount of /sys. Only root can mount one for the host's network; other users get the host's /sys."""
    if settings.ordinary_user and spec.network == "host":
        return _bind("/sys", "/sys", "ro", "nosuid", "noexec", "nodev")
    return _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro")


def _mount(place: str, kind: str, *options: str, source: str = "") -> dict[str, Any]:
    return {"destination": place, "type": kind, "source": source or kind, "options": list(options)}


def _bind(source: str, place: str, *options: str) -> dict[str, Any]:
    return {"destination": place, "type": "bind", "source": source, "options": ["rbind", "rprivate", *options]}


def _hooks(edits: Edits) -> dict[str, Any]:
    hooks: dict[str, Any] = {}
    for hook in edits.hooks:
        entry: dict[str, Any] = {"path": hook.path, "args": list(hook.args), "env": list(hook.env)}
        hooks.setdefault(hook.name, []).append({**entry, "timeout": hook.timeout} if hook.timeout else entry)
    return hooks


def _linux(spec: TaskSpec, settings: Settings) -> dict[str, Any]:
    new = settings.network == "new"
    namespaces = ["pid", "ipc", "uts", "mount", "cgroup", *(["network"] if new else [])]
    devices, allowed = _devices(settings)
    linux: dict[str, Any] = {
        "namespaces": [{"type": name} for name in namespaces],
        **_control(spec, settings, allowed),
        "devices": devices,
        "maskedPaths": list(_MASKED),
        "readonlyPaths": list(_READ_ONLY),
        "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"} if new else {},
        "rootfsPropagation": "rprivate",
    }
    if spec.hardening.seccomp == "default":
        linux["seccomp"] = profile([capability(name) for name in spec.hardening.capabilities])
    return linux


def _control(spec: TaskSpec, settings: Settings, allowed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the container's own cgroup, below that of the task with the limits. An ordinary user may have none."""
    if settings.ordinary_user:
        return {"cgroupsPath": settings.cgroup} if settings.cgroup else {}
    return {
        "cgroupsPath": settings.cgroup,
        "resources": {"devices": [{"allow": False, "access": "rwm"}, *allowed], "pids": {"limit": spec.hardening.pids}},
    }


def _devices(settings: Settings) -> tuple[list[dict[str, Any]], Sequence[dict[str, Any]]]:
    """Return the nodes of leased devices, and the permission to open them. The runtime adds null, zero and the like.

    An ordinary user cannot make device nodes, so those of the host are bound into the container (`_mounts`).
    """
    devices, allowed = [], []
    if settings.ordinary_user:
        return [], []
    for node in settings.edits.nodes:
        number = settings.nodes[node.host]
        # as every runtime has it: the lease decides which task may use the device
        mode = 0o666 if node.mode is None else node.mode
        device = {
            "path": node.path,
            "type": number.kind,
            "major": number.major,
            "minor": number.minor,
            "fileMode": mode,
        }
        devices.append({**device, "uid": node.uid or 0, "gid": node.gid or 0})
        numbers = {"type": number.kind, "major": number.major, "minor": number.minor}
        allowed.append({"allow": True, "access": node.permissions, **numbers})
    return devices, allowed
