"""The docker engine: create, attach, start, wait, inspect and remove containers, over the engine's socket."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

from ...cgroup import Group
from ...errors import EngineLost, ImageCannotStart
from ...oci.network import NETWORK, Bridge
from ...resources.metrics import Usage
from ...system.process_id import current
from ...task.engine import Running
from ...task.exchange import Exchange
from ...task.spec import SHARE_THE_KERNEL, TaskSpec
from ..outcome import killed_at_start
from ..preflight import (
    check_disk,
    check_names,
    check_room,
    runtime_missing,
    set_up_disk,
    task_group,
    user_of,
    why_no_disk,
    why_the_image,
)
from ..reaper import engine_lost
from .api import Api, Refused
from .container import Settings, create_body
from .running import DockerRunning
from .way_out import ask_for_nothing, bridge_for, connect, make_network

_SHIMS = "io.containerd."  # a runtime with this prefix is a shim, which containerd looks for on first use
_LIBRARY = Path(__file__).resolve().parents[2]


class DockerEngine:
    """Docker Engine at `address`, on this machine, since directories are bound into the containers.

    `library` is a copy of this package that the containers' user can read.
    """

    name = "docker"

    def __init__(self, address: str = "unix:///var/run/docker.sock", *, library: str = str(_LIBRARY)) -> None:
        self.api = Api(address)
        self.library = library
        self._asked = threading.Lock()

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """The engine's description of itself. Requested once."""
        found = self.api.call("GET", "/info")
        if not isinstance(found, dict):
            raise EngineLost(f"the server at {self.api.address} is not a Docker Engine")
        return found

    def has_image(self, reference: str) -> bool:
        """Return whether the engine's store has the image."""
        try:
            self.api.call("GET", f"/images/{reference}/json")
        except Refused as refused:
            if refused.status == 404:
                return False
            raise EngineLost(f"the engine does not answer whether it has {reference}: {refused}") from None
        return True

    def image_digest(self, reference: str) -> str:
        """Return the digest of an image, by any of its names."""
        try:
            return str(self.api.call("GET", f"/images/{reference}/json")["Id"])
        except Refused as refused:
            raise EngineLost(f"the engine does not answer what {reference} is: {refused}") from None

    def check(self, spec: TaskSpec) -> None:
        with self._asked:
            facts = self.facts
        cores, memory = int(facts.get("NCPU") or 0), int(facts.get("MemTotal") or 0)
        check_room(spec, "the engine's host", cores=cores, memory=memory)
        check_names(spec)
        if spec.limits.disk is not None:
            check_disk(spec, why_not=why_no_disk(spec, self.name, self.api.address))
        runtime = spec.hardening.runtime
        if runtime is not None and not runtime.startswith(_SHIMS) and runtime not in (known := self.runtimes()):
            raise EngineLost(
                f"the {self.name} engine does not know the OCI runtime `{runtime}`",
                task=spec.task,
                hint="it knows " + ", ".join(sorted(known)),
            )

    def runtimes(self) -> list[str]:
        """Return the names of the OCI runtimes that a task may choose."""
        return [name for name in self.facts.get("Runtimes") or () if not name.startswith(_SHIMS)]

    def start(self, spec: TaskSpec, exchange: Exchange) -> Running:
        group = self._group(spec, exchange)
        running: DockerRunning | None = None
        try:
            user = user_of(spec, exchange)
            set_up_disk(spec, exchange, self._shm(spec), self.api.address)
            exchange.give_to(*user)
            settings = Settings(
                owner=str(current()),
                user=user,
                library=self.library,
                shm=self._shm(spec),
                cgroup_parent=group.engine_parent if group else None,
            )
            body = self.body(spec, exchange, settings)
            bridge = self.way_out(spec, body)
            created = self.api.call("POST", "/containers/create", body, name=f"flyte-images-{exchange.name}")
            running = DockerRunning(self.api, created["Id"], spec, group)
            running.start(self.preparation(spec, created["Id"]))
            if bridge is not None and (pid := running.pid()) is not None:
                connect(spec, pid, created["Id"], bridge)
        except Refused as refused:
            usage = group.usage() if group is not None else Usage()
            _give_up(running, group)
            raise killed_at_start(str(refused), spec, usage) or _why_not(refused, spec) from None
        except BaseException:
            _give_up(running, group, name=f"flyte-images-{exchange.name}", api=self.api)
            raise
        return running

    def preparation(self, spec: TaskSpec, container: str) -> Callable[[int], None] | None:
        """Return a function for the pid of the first process before it runs, if the engine makes it that early."""
        return None

    @property
    def fences_off(self) -> bool:
        """Whether this process connects and fences off containers.

        For root, on an engine with this machine's kernel.
        """
        here = os.uname()
        same = (self.facts.get("Name"), self.facts.get("KernelVersion")) == (here.nodename, here.release)
        return same and os.geteuid() == 0 and "name=rootless" not in (self.facts.get("SecurityOptions") or ())

    def way_out(self, spec: TaskSpec, body: dict[str, Any]) -> Bridge | None:
        """Prepare the request of a task with outbound network.

        Return the bridge to which to connect its container later.

        Where this process cannot fence off a container, Docker connects it, to a network apart from other containers.
        """
        if spec.network != "outbound" or spec.hardening.runtime not in SHARE_THE_KERNEL:
            return None
        if not self.fences_off:
            make_network(spec, self.api)
            body["HostConfig"]["NetworkMode"] = NETWORK
            return None
        ask_for_nothing(body)
        return bridge_for(spec, self.api)

    def body(self, spec: TaskSpec, exchange: Exchange, settings: Settings) -> dict[str, Any]:
        """Return the request for the container."""
        body = create_body(spec, exchange, settings)
        if spec.devices:
            self._pass_devices(spec, body)
        return body

    def _pass_devices(self, spec: TaskSpec, body: dict[str, Any]) -> None:
        """Change a request whose CDI names the engine does not know.

        To the form of `--gpus`, else to the devices' parts.
        """
        from ...gpu import cdi
        from ..docker_defaults import insert, parts

        if cdi.read([Path(one) for one in self.facts.get("CDISpecDirs") or ()]).knows(spec.devices):
            return
        if self._has_nvidia() and all(name.startswith("nvidia.com/gpu=") for name in spec.devices):
            request = {"DeviceIDs": list(spec.device_ids), "Capabilities": [["gpu", "compute", "utility"]]}
            body["HostConfig"]["DeviceRequests"] = [request]
        else:
            insert(parts(spec), body)

    def _has_nvidia(self) -> bool:
        """Return whether the engine has NVIDIA's runtime, or the hook that Docker's `--gpus` starts."""
        return "nvidia" in (self.facts.get("Runtimes") or ()) or which("nvidia-container-runtime-hook") is not None

    def _group(self, spec: TaskSpec, exchange: Exchange) -> Group | None:
        # systemd makes its cgroups itself, and a task in a sandboxed runtime is not a process of this host;
        # cgroups delegated to a user are not below those of the engine
        if os.geteuid() != 0 or self.facts.get("CgroupDriver") != "cgroupfs" or spec.hardening.runtime is not None:
            return None
        return task_group(spec, exchange)

    def _shm(self, spec: TaskSpec) -> int:
        limits = spec.limits
        return limits.shm or limits.memory or int(self.facts.get("MemTotal") or 1 << 30) // 2


def _give_up(running: DockerRunning | None, group: Group | None, *, name: str = "", api: Api | None = None) -> None:
    if running is not None:
        running.remove()
        return
    if api is not None:  # interrupted during the creation: the container may exist under its name
        try:
            api.call("DELETE", f"/containers/{name}", force="true")
        except EngineLost:
            engine_lost(api.address)
        except Refused:
            pass
    if group is not None:
        group.remove()


def _why_not(refused: Refused, spec: TaskSpec) -> Exception:
    """Return the error for the engine's refusal to create or start a container, with a remedy."""
    message = str(refused)
    lower = message.lower()
    if refused.status == 404 and "no such image" in lower:
        return ImageCannotStart(f"the engine has no image {spec.image}", task=spec.task, hint="build it, or pull it")
    if (image := why_the_image(message, spec)) is not None:
        return image
    if runtime_missing(lower):
        return EngineLost(
            f"the engine has no OCI runtime `{spec.hardening.runtime}`: {message}",
            task=spec.task,
            hint="install it, and name it in the engine's settings; or leave runtime= out",
        )
    if "cdi" in lower or ("device" in lower and spec.devices):
        return EngineLost(f"the engine cannot pass the devices {', '.join(spec.devices)}: {message}", task=spec.task)
    if "mount" in lower and "does not exist" in lower:
        return EngineLost(
            f"the engine cannot see this machine's directories: {message}",
            task=spec.task,
            hint="the docker engine must run on the machine that calls the task",
        )
    if refused.status >= 500 or refused.status == 400:
        return ImageCannotStart(f"the container of {spec.image} could not be started: {message}", task=spec.task)
    return EngineLost(f"the engine refused: {message}", task=spec.task)
