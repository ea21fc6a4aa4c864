"""TaskSpec -> the body of Docker's `POST /containers/create`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...task.exchange import Exchange
from ...task.spec import TaskSpec, thread_env
from ...worker import paths

OWNER = "io.flyte-images.owner"
NAME = "io.flyte-images.name"
TASK = "io.flyte-images.task"
DEVICES = "io.flyte-images.devices"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Decisions made at the start, which the specification does not contain."""

    owner: str
    user: tuple[int, int]
    library: str
    shm: int
    cgroup_parent: str | None = None


def create_body(spec: TaskSpec, exchange: Exchange, settings: Settings) -> dict[str, Any]:
    """Return the request for the container."""
    host = _host(spec, settings)
    host["Mounts"] = _mounts(spec, exchange, settings)
    return {
        "Image": spec.image,
        "Entrypoint": paths.command(spec.python),
        "Cmd": [],
        "Env": [f"{name}={value}" for name, value in environment(spec).items()],
        "User": spec.hardening.user or f"{settings.user[0]}:{settings.user[1]}",
        "WorkingDir": spec.workdir or "",
        "Labels": _labels(spec, exchange, settings),
        "Hostname": "task",
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "OpenStdin": True,
        "StdinOnce": True,  # stdin ends with the caller's connection
        "Tty": False,
        "StopSignal": "SIGTERM",
        "HostConfig": host,
    }


def _labels(spec: TaskSpec, exchange: Exchange, settings: Settings) -> dict[str, str]:
    labels = {OWNER: settings.owner, NAME: exchange.name, TASK: spec.task}
    return {**labels, DEVICES: ",".join(spec.device_ids)} if spec.device_ids else labels


def environment(spec: TaskSpec) -> dict[str, str]:
    """Return the variables of the task. The user's come last and win."""
    return {
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": paths.HOME,
        "USER": "task",  # getpass.getuser() fails for a uid without an entry in passwd
        "LOGNAME": "task",
        "XDG_CACHE_HOME": f"{paths.HOME}/.cache",
        **thread_env(spec.limits),
        **dict(spec.env),
    }


def _host(spec: TaskSpec, settings: Settings) -> dict[str, Any]:
    hardening, limits = spec.hardening, spec.limits
    security = [] if hardening.new_privileges else ["no-new-privileges"]
    if hardening.seccomp == "unconfined":
        security.append("seccomp=unconfined")
    host: dict[str, Any] = {
        "NetworkMode": _network(spec),
        "ReadonlyRootfs": hardening.read_only_root,
        "CapDrop": ["ALL"],
        "CapAdd": list(hardening.capabilities),
        "SecurityOpt": security,
        "PidsLimit": hardening.pids,
        "ShmSize": settings.shm,
        "Tmpfs": {} if limits.disk else {"/tmp": f"rw,nosuid,nodev,exec,mode=1777,size={settings.shm}"},
        "LogConfig": {"Type": "none"},  # the caller reads the streams
        "IpcMode": "private",
        "AutoRemove": False,
        "OomScoreAdj": 500,  # the kernel kills the task before the host's processes
    }
    if limits.cpu is not None:
        host["NanoCpus"] = int(limits.cpu * 1_000_000_000)
    if limits.memory is not None:
        host["Memory"] = host["MemorySwap"] = limits.memory  # equal limits: no swap
    if settings.cgroup_parent is not None:
        host["CgroupParent"] = settings.cgroup_parent
    if hardening.runtime is not None:
        host["Runtime"] = hardening.runtime
    if spec.devices:
        host["DeviceRequests"] = [{"Driver": "cdi", "DeviceIDs": list(spec.devices)}]
    return host


def _network(spec: TaskSpec) -> str:
    modes: Mapping[str, str] = {"none": "none", "outbound": "bridge", "host": "host"}
    return modes[spec.network]


def _mounts(spec: TaskSpec, exchange: Exchange, settings: Settings) -> list[dict[str, Any]]:
    mounts = [
        _bind(settings.library, f"{paths.LIB}/flyte_images_runtime"),
        _bind(str(exchange.inputs), paths.IN),
        _bind(exchange.on_disk("out"), paths.OUT, read_only=False),
        _bind(str(exchange.memory), paths.FAST, read_only=False),
    ]
    if spec.limits.disk is not None:
        mounts.append(_bind(exchange.on_disk("tmp"), "/tmp", read_only=False))
    mounts += [_bind(root, f"{paths.CODE}/{at}") for at, root in enumerate(spec.code.copies or spec.code.roots)]
    mounts += [_bind(mount.source, mount.target, read_only=mount.read_only) for mount in spec.mounts]
    return mounts


def _bind(source: str, target: str, *, read_only: bool = True) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": read_only,
        "BindOptions": {"Propagation": "rprivate"},
    }
