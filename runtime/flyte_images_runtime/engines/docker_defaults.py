"""What Docker does by itself, spelled out in its own terms, for engines that take its requests and do not.

Ports below 1024 are anyone's inside, the filter is Docker's, and leased devices come as their parts: nodes, mounts,
variables.
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
    """Return the request with what the engine would leave out."""
    host = body["HostConfig"]
    if spec.network != "host":
        host["Sysctls"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
    if spec.hardening.seccomp == "default":  # their own let unshare, keyctl and others through
        rules = exchange.inputs.parent / "seccomp.json"
        rules.write_text(json.dumps(profile(list(map(capability, spec.hardening.capabilities)))), encoding="utf-8")
        host["SecurityOpt"].append(f"seccomp={rules}")
    if spec.devices and not cdi_known:
        insert(parts(spec), body)
    return body


def parts(spec: TaskSpec) -> cdi.Edits:
    """What the leased devices bring. Such a request takes nodes, mounts and variables, but no hooks."""
    from ..gpu.cdi_names import edits_of, without_hooks

    found = edits_of(spec.devices, spec.device_ids)
    return without_hooks(spec.devices, spec.device_ids) if found.hooks else found


def insert(edits: cdi.Edits, body: dict[str, Any]) -> None:
    """Ask for the parts of the devices instead of their CDI names."""
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
    """The groups of nodes that not everyone may open: such an engine leaves a node as it is on the host."""
    found = set()
    for node in edits.nodes:
        with contextlib.suppress(OSError):
            seen = Path(node.host).stat()
            if seen.st_mode & 0o006 != 0o006 and seen.st_mode & 0o060 == 0o060:
                found.add(seen.st_gid)
    return found
