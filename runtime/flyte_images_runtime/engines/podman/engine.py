"""The podman engine: Docker's requests to Podman, and changes where Podman understands them differently."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import EngineLost
from ...gpu.cdi_names import edits_of
from ...oci.network import Bridge
from ...task.engine import Running
from ...task.exchange import Exchange
from ...task.spec import PIDS, SHARE_THE_KERNEL, TaskSpec
from ..docker.api import Api
from ..docker.container import Settings, create_body
from ..docker.engine import DockerEngine
from ..docker.images import layers_of
from ..docker_defaults import spell_out
from ..preflight import check_cable, check_sources
from .images import hand_over
from .service import Service, find_service


class PodmanEngine(DockerEngine):
    """Podman on this machine, of root or of an ordinary user."""

    name = "podman"

    def __init__(
        self, service: Service | None = None, *, library: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._service = service or find_service(self._environ, user=os.getuid())
        self._others: dict[str, PodmanEngine] = {}
        self._own_kernel = False
        self._making = threading.Lock()
        super().__init__(self._service.address, **({} if library is None else {"library": library}))

    def awake(self) -> PodmanEngine:
        """Return this engine after its service answers. Raise EngineLost with the reason if it does not."""
        self._service.start(self._environ)
        return self

    @property
    def facts(self) -> dict[str, Any]:
        self._service.start(self._environ)
        return super().facts

    @property
    def rootless(self) -> bool:
        return _is_rootless(self.facts)

    def runtimes(self) -> list[str]:
        """Return the runtimes in Podman's settings whose programs are installed: the settings name many others."""
        paths = {name: str(known.get("path") or name) for name, known in (self.facts.get("Runtimes") or {}).items()}
        return [name for name, path in paths.items() if Path(path).exists() or shutil.which(Path(path).name)]

    def take_image(self, reference: str, docker: Api) -> None:
        """Load the image from Docker, unless Podman has the same image under that name."""
        self._service.start(self._environ)
        if layers_of(docker, reference) != layers_of(self.api, reference):
            hand_over(docker, self.api, reference)

    def check(self, spec: TaskSpec) -> None:
        super().check(spec)
        check_sources(spec)
        if spec.hardening.runtime is not None and not self._service.ours:
            raise EngineLost(
                f"the Podman at {self._service.address} uses the OCI runtime with which it was started",
                task=spec.task,
                hint="unset CONTAINER_HOST, or start that service with --runtime",
            )
        if limit := _not_kept(self.facts, spec):
            raise EngineLost(
                f"Podman would ignore the {limit} limit of task `{spec.task}`: it is an ordinary user's, "
                f"without a delegated part of cgroup v2",
                task=spec.task,
                hint="leave the limit out; or run it as root; or boot with systemd.unified_cgroup_hierarchy=1",
            )
        if self.rootless and spec.network == "outbound":
            check_cable(spec)
        if spec.devices:
            edits_of(spec.devices, spec.device_ids)  # a missing device is an error before the start

    @property
    def fences_off(self) -> bool:
        return True

    def way_out(self, spec: TaskSpec, body: dict[str, Any]) -> Bridge | None:
        return None  # Podman connects the container, and leaves time to fence it off

    def preparation(self, spec: TaskSpec, container: str) -> Callable[[int], None] | None:
        if spec.network != "outbound" or self._own_kernel:
            return None
        from .fence import fence_in

        return lambda pid: fence_in(spec, pid, container, rootless=self.rootless)

    def body(self, spec: TaskSpec, exchange: Exchange, settings: Settings) -> dict[str, Any]:
        body = spell_out(spec, exchange, create_body(spec, exchange, settings))
        if self.rootless:
            _as_an_ordinary_user(body["HostConfig"], spec, settings, v1=_is_v1(self.facts))
        return body

    def start(self, spec: TaskSpec, exchange: Exchange) -> Running:
        runtime = spec.hardening.runtime
        if runtime is not None:
            return self._with(runtime).start(replace(spec, hardening=replace(spec.hardening, runtime=None)), exchange)
        self._service.start(self._environ)
        return super().start(spec, exchange)

    def _with(self, runtime: str) -> PodmanEngine:
        """Return a Podman with another OCI runtime: requests cannot choose one, so each runtime has a service."""
        with self._making:
            if runtime not in self._others:
                service = self._service.with_runtime(runtime)
                other = PodmanEngine(service, library=self.library, environ=self._environ)
                other._own_kernel = runtime not in SHARE_THE_KERNEL
                self._others[runtime] = other
            return self._others[runtime]


def _is_rootless(facts: Mapping[str, Any]) -> bool:
    return bool(facts.get("Rootless")) or "name=rootless" in (facts.get("SecurityOptions") or ())


def _is_v1(facts: Mapping[str, Any]) -> bool:
    return str(facts.get("CgroupVersion")) == "1"


def _as_an_ordinary_user(host: dict[str, Any], spec: TaskSpec, settings: Settings, *, v1: bool) -> None:
    """Change a request for the Podman of an ordinary user.

    The task's user inside is the caller outside, so that the task can write its outputs. Without a separate cgroup the
    task would take the host's figures for its own, so /sys/fs/cgroup is hidden.
    """
    user, group = settings.user
    if (user, group) != (0, 0):  # root inside is the caller already
        host["UsernsMode"] = f"keep-id:uid={user},gid={group}"
    if spec.network == "outbound":
        # both need no root; Podman's default may be a bridge in a namespace that all its containers share
        host["NetworkMode"] = "slirp4netns" if shutil.which("slirp4netns") else "pasta"
    if v1:
        del host["PidsLimit"]
        host["Tmpfs"]["/sys/fs/cgroup"] = "ro,nosuid,nodev,noexec,notmpcopyup,size=4096"


def _not_kept(facts: Mapping[str, Any], spec: TaskSpec) -> str | None:
    """Return the first limit of the task that this Podman accepts and does not keep, or None."""
    limits = spec.limits
    ignored = _is_rootless(facts) and _is_v1(facts)
    if limits.memory is not None and (ignored or not facts.get("MemoryLimit", True)):
        return "memory"
    if limits.cpu is not None and (ignored or not facts.get("CpuCfsQuota", True)):
        return "CPU"
    asked = spec.hardening.pids != PIDS  # the default is a bound for accidents, not a request
    return "process" if asked and (ignored or not facts.get("PidsLimit", True)) else None
