"""The oci engine: a bundle in a mount namespace of its own, and crun or runc to run it. No daemon; for root."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ...cgroup import Group, make_group
from ...engine import Running
from ...exchange import Exchange
from ...failures import EngineLost, ImageCannotStart, TaskError
from ...gpu import cdi
from ...oci import disk
from ...oci.config import NodeNumber, Settings, bundle_config
from ...oci.images import Images
from ...oci.mounts import in_own_namespace, mount, overlay
from ...oci.network import BRIDGE, NETWORK, Bridge, docker_network, find_bridge, name_servers, plug_in
from ...oci.rootfs import Rootfs
from ...spec import TaskSpec
from ..checks import check_room, check_sources, check_user, user_of, why_the_image
from ..docker.api import Api, Refused
from ..docker.container import environment
from ..docker.images import open_image
from .program import Program, find
from .running import OciRunning

_LIBRARY = Path(__file__).resolve().parents[2]
_BUNDLE = Path("/run/flyte-images")  # each task sees its own there, and nobody else's
_DISK = _BUNDLE / "disk"
_CGROUP_FILES = ("memory", "cpu", "cpuacct", "pids")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class OciEngine:
    """Runs tasks in containers of `program`, of images that are in `store` or in Docker's own directories.

    `library` is a copy of this package that the containers' user can read.
    """

    name = "oci"

    def __init__(
        self,
        store: Path,
        *,
        docker: Api | None = None,
        program: Program | None = None,
        library: str = str(_LIBRARY),
    ) -> None:
        self._docker = docker
        self._library = library
        self.images = Images(store, self._inspect, self._save) if docker else Images(store)
        self._program = program or find()

    def _inspect(self, reference: str) -> dict[str, Any] | None:
        assert self._docker is not None
        try:
            found: dict[str, Any] = self._docker.call("GET", f"/images/{reference}/json")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise EngineLost(f"the engine cannot say whether it has {reference}: {refused}") from None
        return found

    def _save(self, reference: str) -> IO[bytes]:
        assert self._docker is not None
        return open_image(self._docker, reference)

    def check(self, spec: TaskSpec) -> None:
        if os.geteuid() != 0:
            raise EngineLost("the oci engine is for root", task=spec.task, hint="use the docker engine")
        if self._program is None:
            raise EngineLost(
                "the oci engine found neither crun nor runc",
                task=spec.task,
                hint="install one, or use the docker engine",
            )
        _check_limits(spec)
        check_sources(spec)
        hardening = spec.hardening
        if hardening.runtime is not None:
            raise EngineLost(
                f"the oci engine does not use `{hardening.runtime}`",
                task=spec.task,
                hint="use the docker engine for it",
            )
        check_user(spec, "oci")
        if spec.network == "outbound" and find_bridge() is None and self._docker is None:
            raise EngineLost(
                "the oci engine has a network for tasks only where Docker makes one",
                task=spec.task,
                hint='network="none" or "host", or use the docker engine',
            )

    def start(self, spec: TaskSpec, exchange: Exchange) -> Running:
        assert self._program is not None
        rootfs = self.images.find(spec.image)
        _check_machine(spec, rootfs)
        edits = cdi.read().edits(spec.devices) if spec.devices else cdi.Edits()
        group = make_group(exchange.name, spec.limits, pids=spec.hardening.pids + 16)
        if group is None:
            raise EngineLost("this process may not make cgroups", task=spec.task, hint="use the docker engine")
        log = os.memfd_create("flyte-images-log", os.MFD_CLOEXEC)
        try:
            user = user_of(spec)
            exchange.give_to(*user)
            settings = _settings(spec, group, edits, user, self._library)
            bridge = self._bridge(spec) if spec.network == "outbound" else None
            process = in_own_namespace(lambda: self._launch(spec, exchange, rootfs, settings, log, bridge))
        except BaseException as error:
            os.close(log)
            group.remove()
            if isinstance(error, OSError):
                raise EngineLost(f"the container could not be made: {error}", task=spec.task) from None
            raise
        return OciRunning(process, log, spec, group, _why_not)

    def _launch(
        self,
        spec: TaskSpec,
        exchange: Exchange,
        rootfs: Rootfs,
        settings: Settings,
        log: int,
        bridge: Bridge | None,
    ) -> subprocess.Popen[bytes]:
        """In a mount namespace of its own: make the bundle in memory, start the runtime."""
        assert self._program is not None
        if bridge is not None:
            plug_in(bridge)
        _BUNDLE.mkdir(mode=0o711, parents=True, exist_ok=True)
        mount("flyte-images", _BUNDLE, "tmpfs", options="mode=711")
        for name in ("upper", "work", "rootfs", "state", "disk", *(f"cgroup/{name}" for name in _CGROUP_FILES)):
            (_BUNDLE / name).mkdir(parents=True)
        upper = self._upper(spec, exchange)
        overlay(rootfs.layers, _BUNDLE / "rootfs", upper=upper / "upper", work=upper / "work")
        for name, text in _files(spec).items():
            (_BUNDLE / name).write_text(text, encoding="utf-8")
        config = self._program.annotate(bundle_config(spec, exchange, rootfs, settings))
        (_BUNDLE / "config.json").write_text(json.dumps(config), encoding="utf-8")
        self._program.prepare(_BUNDLE / "nothing")
        return subprocess.Popen(
            self._program.run(_BUNDLE, "task", log),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(log,),
            cwd=_BUNDLE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            start_new_session=True,  # a Ctrl-C at the terminal is the caller's, who then ends the task
        )

    def _upper(self, spec: TaskSpec, exchange: Exchange) -> Path:
        """Where what the task writes to its root goes: nowhere; or to disk, and it is removed with the outputs."""
        place = exchange.outputs.parent
        if spec.limits.disk is not None:
            disk.mount_new(place / "disk", _DISK, spec.limits.disk)
            place = _DISK
        if spec.hardening.read_only_root:
            return _BUNDLE
        for name in ("upper", "work"):
            (place / name).mkdir(exist_ok=True)
            (place / name).chmod(0o755)
        return place

    def _bridge(self, spec: TaskSpec) -> Bridge:
        """The bridge to the outside, which Docker makes when it is first needed."""
        bridge = find_bridge()
        if bridge is None and self._docker is not None:
            try:
                self._docker.call("POST", "/networks/create", docker_network())
            except Refused as refused:
                if refused.status != 409:  # another task was first
                    raise EngineLost(
                        f"Docker could not make the network {NETWORK}: {refused}", task=spec.task
                    ) from None
            bridge = find_bridge()
        if bridge is None:
            raise EngineLost(
                f"there is no bridge `{BRIDGE}`",
                task=spec.task,
                hint=f'docker network rm {NETWORK}, and it is made again; or network="none"',
            )
        return bridge


def _files(spec: TaskSpec) -> dict[str, str]:
    """The files of /etc that are the container's and not the image's."""
    if spec.network == "host":
        return {name: _read(f"/etc/{name}") for name in ("hosts", "hostname", "resolv.conf")}
    files = {"hosts": _HOSTS, "hostname": "task\n"}
    if spec.network == "outbound":
        files["resolv.conf"] = name_servers(_read("/etc/resolv.conf"), _read("/run/systemd/resolve/resolv.conf"))
    return files


_HOSTS = "127.0.0.1\tlocalhost task\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def _settings(spec: TaskSpec, group: Group, edits: cdi.Edits, user: tuple[int, int], library: str) -> Settings:
    limits = spec.limits
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Settings(
        user=user,
        library=library,
        shm=limits.shm or limits.memory or memory // 2,
        cgroup=f"{group.engine_parent}/container",
        environment=environment(spec),
        tmp=str(_DISK / "tmp") if limits.disk is not None else None,
        groups=tuple(_own_groups(group)),
        files=tuple((str(_BUNDLE / name), f"/etc/{name}") for name in _files(spec)),
        network="new" if spec.network == "none" else "inherited",
        edits=edits,
        nodes=_nodes(edits),
        open_files=min(1 << 20, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
    )


def _own_groups(group: Group) -> list[tuple[str, str]]:
    """The task's cgroup where programs look for theirs."""
    below = group.engine_parent.lstrip("/")
    hierarchies = group.hierarchies
    if hierarchies.version == 2:
        assert hierarchies.unified is not None
        return [(str(hierarchies.unified / below), "/sys/fs/cgroup")]
    return [
        (str(_BUNDLE / "cgroup"), "/sys/fs/cgroup"),
        *(
            (str(hierarchies.legacy[name] / below), f"/sys/fs/cgroup/{name}")
            for name in _CGROUP_FILES
            if name in hierarchies.legacy
        ),
    ]


def _nodes(edits: cdi.Edits) -> Mapping[str, NodeNumber]:
    found = {}
    for node in edits.nodes:
        try:
            seen = Path(node.host).stat()
        except OSError as error:
            raise EngineLost(f"the device node `{node.host}` cannot be passed: {error.strerror}") from None
        kind = "b" if stat.S_ISBLK(seen.st_mode) else "c"
        found[node.host] = NodeNumber(kind=kind, major=os.major(seen.st_rdev), minor=os.minor(seen.st_rdev))
    return found


def _check_limits(spec: TaskSpec) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    check_room(spec, "this machine", cores=os.cpu_count() or 1, memory=memory)
    if spec.limits.disk is not None:
        disk.check(spec.limits.disk, spec.task)


def _check_machine(spec: TaskSpec, rootfs: Rootfs) -> None:
    machine = _MACHINES.get(os.uname().machine, os.uname().machine)
    if rootfs.architecture not in ("", machine):
        raise ImageCannotStart(
            f"image {spec.image} is for {rootfs.architecture}, this machine is {machine}",
            task=spec.task,
            hint="build it for this platform",
        )


def _why_not(said: str, spec: TaskSpec) -> TaskError:
    """The runtime's words -> the error that says what to do."""
    return why_the_image(said, spec) or ImageCannotStart(
        f"the container of {spec.image} could not be started: {said}", task=spec.task
    )
