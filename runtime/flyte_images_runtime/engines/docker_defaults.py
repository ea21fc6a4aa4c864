"""Docker's defaults as explicit parts of its requests, for engines that take these requests but have other defaults.

Ports below 1024 are open to every user inside, the seccomp filter is Docker's, and leased devices are passed as their
parts: nodes, mounts, variables.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from ..gpu import cdi
from ..oci.seccomp import capability, profile
from ..task.exchange import Exchange
from ..task.spec import TaskSpec


def spell_out(spec: TaskSpec, exchange: Exchange, body: dict[str, Any], *, cdi_known: bool = False) -> dict[str, Any]:
    """Return the request with the defaults that the engine would not apply itself."""
    host = body["HostConfig"]
    if spec.network != "host":
        host["Sysctls"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
    if spec.hardening.seccomp == "default":  # the engine's own filter allows unshare, keyctl and others
        rules = exchange.inputs.parent / "seccomp.json"
        rules.write_text(json.dumps(profile(list(map(capability, spec.hardening.capabilities)))), encoding="utf-8")
        host["SecurityOpt"].append(f"seccomp={rules}")
    if spec.devices and not cdi_known:
        insert(parts(spec), body)
    return body


def parts(spec: TaskSpec) -> cdi.Edits:
    """Return the edits of the leased devices. A request takes nodes, mounts and variables, but no hooks."""
    from ..gpu.cdi_names import edits_of, without_hooks

    found = edits_of(spec.devices, spec.device_ids)
    return without_hooks(spec.devices, spec.device_ids) if found.hooks else found


def insert(edits: cdi.Edits, body: dict[str, Any]) -> None:
    """Replace the CDI names in the request with the parts of the devices."""
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
    body["Env"] = [*edits.env, *body["Env"]]  # the task's own variables come last and win


def _groups(edits: cdi.Edits) -> set[int]:
    """Return the groups of nodes that not every user may open: the engine keeps the owner and mode of the host."""
    found = set()
    for node in edits.nodes:
        with contextlib.suppress(OSError):
            seen = Path(node.host).stat()
            if seen.st_mode & 0o006 != 0o006 and seen.st_mode & 0o060 == 0o060:
                found.add(seen.st_gid)
    return found
