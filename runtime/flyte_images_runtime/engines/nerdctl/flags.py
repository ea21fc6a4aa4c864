"""Docker's request for a container -> the options of `nerdctl run`. Pure: both engines apply the same limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def run_options(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the arguments after `run`: options, the image and its command.

    >>> run_options({"Image": "i:1", "Entrypoint": ["python3", "-V"], "Env": ["A=b"], "HostConfig": {}}, "n")[:4]
    ('--name', 'n', '--pull', 'never')
    """
    host = body["HostConfig"]
    command: list[str] = [*body["Entrypoint"], *body.get("Cmd", ())]
    options = [
        *("--name", name, "--pull", "never", "--entrypoint", command[0]),
        # with these, containerd keeps no log on disk
        *("--attach", "stdin", "--attach", "stdout", "--attach", "stderr"),
        *_named(body, {"User": "user", "WorkingDir": "workdir", "Hostname": "hostname", "StopSignal": "stop-signal"}),
        *_named(host, {"NetworkMode": "network", "CgroupParent": "cgroup-parent", "Runtime": "runtime"}),
        *_named(host, {"PidsLimit": "pids-limit", "ShmSize": "shm-size", "Memory": "memory"}),
        *_named(host, {"MemorySwap": "memory-swap", "IpcMode": "ipc", "OomScoreAdj": "oom-score-adj"}),
        *_each(host, {"CapDrop": "cap-drop", "CapAdd": "cap-add", "SecurityOpt": "security-opt"}),
        *_each(host, {"GroupAdd": "group-add"}),
        *_each(body, {"Env": "env"}),
        *_pairs("label", body.get("Labels"), "="),
        *_pairs("sysctl", host.get("Sysctls"), "="),
        *_pairs("tmpfs", host.get("Tmpfs"), ":"),
    ]
    if host.get("ReadonlyRootfs"):
        options.append("--read-only")
    if "NanoCpus" in host:
        options += ["--cpus", f"{host['NanoCpus'] / 1e9:.9g}"]
    for mount in host.get("Mounts", ()):
        options += ["--mount", _mount(mount)]
    for node in host.get("Devices", ()):
        options += ["--device", f"{node['PathOnHost']}:{node['PathInContainer']}:{node['CgroupPermissions']}"]
    for devices in host.get("DeviceRequests", ()):
        options += [part for name in devices["DeviceIDs"] for part in ("--device", name)]
    return (*options, body["Image"], *command[1:])


def _named(source: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    return [part for key, option in names.items() if source.get(key) for part in (f"--{option}", str(source[key]))]


def _each(source: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    return [part for key, option in names.items() for one in source.get(key) or () for part in (f"--{option}", one)]


def _pairs(option: str, found: Mapping[str, str] | None, between: str) -> list[str]:
    return [part for key, value in (found or {}).items() for part in (f"--{option}", f"{key}{between}{value}")]


def _mount(mount: Mapping[str, Any]) -> str:
    """Return the value of one `--mount`: comma-separated fields, quoted like CSV.

    >>> _mount({"Source": "/a,b", "Target": "/c", "ReadOnly": True})
    'type=bind,"source=/a,b",target=/c,bind-propagation=rprivate,readonly'
    """
    fields = ["type=bind", f"source={mount['Source']}", f"target={mount['Target']}", "bind-propagation=rprivate"]
    if mount.get("ReadOnly"):
        fields.append("readonly")
    return ",".join(map(_field, fields))


def _field(text: str) -> str:
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if set(text) & set(',"\n') else text
