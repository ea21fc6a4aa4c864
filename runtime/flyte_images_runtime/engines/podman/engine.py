"""The podman engine: Docker's requests, which Podman understands, and what it understands in another way."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...engine import Running
from ...exchange import Exchange
from ...failures import EngineLost
from ...gpu import cdi
from ...oci.seccomp import capability, profile
from ...spec import TaskSpec
from ..docker.api import Api
from ..docker.container import Settings
from ..docker.engine import DockerEngine
from ..sources import check_sources
from .images import hand_over, layers_of
from .service import Service, find_service


class PodmanEngine(DockerEngine):
    """Podman on this machine, of root or of an ordinary user."""

    name = "podman"

    def __init__(
        self, service: Service | None = None, *, library: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._service = service or find_service(self._environ, user=os.getuid())
        super().__init__(self._service.address, **({} if library is None else {"library": library}))

    @property
    def facts(self) -> dict[str, Any]:
        self._service.start(self._environ)
        return super().facts

    def take_image(self, reference: str, docker: Api) -> None:
        """Have the image that Docker has under that name."""
        self._service.start(self._environ)
        if layers_of(docker, reference) != layers_of(self.api, reference):
            hand_over(docker, self.api, reference)

    def check(self, spec: TaskSpec) -> None:
        super().check(spec)
        check_sources(spec)
        if told := _not_kept(self.facts, spec):
            raise EngineLost(
                f"Podman would ignore the {told} limit of task `{spec.task}`",
                task=spec.task,
                hint="an ordinary user's Podman keeps limits on cgroup version 2 with delegation; or run it as root",
            )
        if spec.devices:
            cdi.read().edits(spec.devices)  # told before the start, by its name

    def body(self, spec: TaskSpec, exchange: Exchange, settings: Settings) -> dict[str, Any]:
        body = super().body(spec, exchange, settings)
        host = body["HostConfig"]
        if spec.network != "host":
            host["Sysctls"] = {"net.ipv4.ip_unprivileged_port_start": "0"}  # Docker does so by itself
        if spec.hardening.seccomp == "default":  # Podman's own lets unshare, keyctl and others through
            rules = exchange.inputs.parent / "seccomp.json"
            rules.write_text(json.dumps(profile(list(map(capability, spec.hardening.capabilities)))))
            host["SecurityOpt"].append(f"seccomp={rules}")
        if spec.devices:
            _insert(_edits(spec), body)
        return body

    def start(self, spec: TaskSpec, exchange: Exchange) -> Running:
        self._service.start(self._environ)
        return super().start(spec, exchange)


def _not_kept(facts: Mapping[str, Any], spec: TaskSpec) -> str | None:
    """The first limit of the task that this Podman takes and does not keep."""
    limits = spec.limits
    rootless = "name=rootless" in (facts.get("SecurityOptions") or ())
    ignored = rootless and str(facts.get("CgroupVersion")) == "1"
    if limits.memory is not None and (ignored or not facts.get("MemoryLimit", True)):
        return "memory"
    if limits.cpu is not None and (ignored or not facts.get("CpuCfsQuota", True)):
        return "CPU"
    return "process" if ignored or not facts.get("PidsLimit", True) else None


def _edits(spec: TaskSpec) -> cdi.Edits:
    """What the leased devices bring. Podman's API takes nodes, mounts and variables, but no hooks."""
    found = cdi.read().edits(spec.devices)
    if not found.hooks:
        return found
    from ...gpu.naming import without_hooks

    return without_hooks(spec.devices, spec.device_ids)


def _insert(edits: cdi.Edits, body: dict[str, Any]) -> None:
    """Ask for the parts of the devices: over this API Podman knows none by its CDI name."""
    host = body["HostConfig"]
    del host["DeviceRequests"]
    host["Devices"] = [
        {"PathOnHost": node.host, "PathInContainer": node.path, "CgroupPermissions": node.permissions}
        for node in edits.nodes
    ]
    host["Mounts"] += [
        {"Type": "bind", "Source": one.host, "Target": one.path, "ReadOnly": "ro" in one.options}
        for one in edits.mounts
    ]
    host["GroupAdd"] = [str(group) for group in sorted({*edits.groups, *_groups(edits)})]
    body["Env"] = [*edits.env, *body["Env"]]  # the task's own win


def _groups(edits: cdi.Edits) -> set[int]:
    """The groups of nodes that not everyone may open: Podman leaves a node as it is on the host."""
    found = set()
    for node in edits.nodes:
        with contextlib.suppress(OSError):
            seen = Path(node.host).stat()
            if seen.st_mode & 0o006 != 0o006 and seen.st_mode & 0o060 == 0o060:
                found.add(seen.st_gid)
    return found
