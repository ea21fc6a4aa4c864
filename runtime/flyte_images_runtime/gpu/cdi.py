"""Container Device Interface: specification files -> what a named device puts into a container.

Reads files and nothing else. Engines read the same files; a runtime without CDI of its own is told `edits(...)`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DeviceError

DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))  # in the order of their priority, lowest first
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A device node: where it is in the container, and on the host if that is another place."""

    path: str
    host: str
    permissions: str = "rwm"
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or a directory of the host."""

    host: str
    path: str
    options: tuple[str, ...] = ("ro", "nosuid", "nodev", "rbind", "rprivate")
    type: str = "bind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A program that the runtime starts at a point of the container's life: `createContainer`, `startContainer`, ..."""

    name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What devices change in a container."""

    env: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    mounts: tuple[Mount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    groups: tuple[int, ...] = ()

    def __add__(self, other: Edits) -> Edits:
        """Both, what they share once.

        >>> node = Node(path="/dev/a", host="/dev/a")
        >>> (Edits(nodes=(node,)) + Edits(nodes=(node,), env=("A=1",))).nodes == (node,)
        True
        """
        return Edits(
            env=_once(self.env + other.env),
            nodes=_once(self.nodes + other.nodes),
            mounts=_once(self.mounts + other.mounts),
            hooks=_once(self.hooks + other.hooks),
            groups=_once(self.groups + other.groups),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One file: devices of one kind, and what each of them brings besides its own."""

    kind: str
    path: Path
    devices: Mapping[str, Edits]
    common: Edits = Edits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """All the specifications of a machine. `problems` are files that no engine could read either."""

    specs: tuple[Spec, ...] = ()
    problems: tuple[str, ...] = ()
    directories: tuple[Path, ...] = field(default=DIRECTORIES)

    def names(self, kind: str) -> dict[str, Edits]:
        """Return the devices of a kind; where two files have one name, the directory of the higher priority counts."""
        found: dict[str, Edits] = {}
        for spec in self.specs:
            if spec.kind == kind:
                found.update(spec.devices)
        return found

    def knows(self, names: Sequence[str]) -> bool:
        """Has a file each of these devices?"""
        return all(name.partition("=")[2] in self.names(name.partition("=")[0]) for name in names)

    def edits(self, names: Sequence[str]) -> Edits:
        """Return what the devices of these full names (`nvidia.com/gpu=0`) change together."""
        total = Edits()
        for name in names:
            kind, _, device = name.partition("=")
            holding = [spec for spec in self.specs if spec.kind == kind and device in spec.devices]
            if not holding:
                places = ", ".join(map(str, self.directories))
                raise DeviceError(
                    f"no CDI specification has the device `{name}`", hint=f"one is looked for in {places}"
                )
            total = total + holding[-1].common + holding[-1].devices[device]
        return total


def read(directories: Sequence[Path] = DIRECTORIES) -> Registry:
    """Read the specifications in `directories`, the lowest priority first."""
    specs: list[Spec] = []
    problems: list[str] = []
    for directory in directories:
        try:
            paths = sorted(path for path in directory.iterdir() if path.suffix in (".json", ".yaml", ".yml"))
        except OSError:
            continue
        for path in paths:
            try:
                specs.append(parse(_load(path), path))
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                problems.append(f"{path}: {error}")
    return Registry(specs=tuple(specs), problems=tuple(problems), directories=tuple(directories))


def parse(document: Mapping[str, Any], path: Path) -> Spec:
    """Return a document of the CDI specification (versions 0.3 to 1.0) as a value; ValueError says what is wrong.

    >>> spec = parse({"cdiVersion": "0.6.0", "kind": "acme.com/gpu", "devices": [
    ...     {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/acme0"}]}}]}, Path("acme.json"))
    >>> spec.devices["0"].nodes[0].host
    '/dev/acme0'
    """
    kind = document["kind"]
    if not isinstance(document.get("cdiVersion"), str) or not _KIND.fullmatch(kind):
        raise ValueError("not a CDI specification")
    devices = {str(device["name"]): _edits(device.get("containerEdits") or {}) for device in document["devices"]}
    return Spec(kind=kind, path=path, devices=devices, common=_edits(document.get("containerEdits") or {}))


def _load(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from None


def _edits(written: Mapping[str, Any]) -> Edits:
    return Edits(
        env=tuple(written.get("env") or ()),
        nodes=tuple(_node(node) for node in written.get("deviceNodes") or ()),
        mounts=tuple(
            Mount(
                host=mount["hostPath"],
                path=mount["containerPath"],
                options=tuple(mount.get("options") or ("rbind", "rprivate")),
                type=mount.get("type") or "bind",
            )
            for mount in written.get("mounts") or ()
        ),
        hooks=tuple(
            Hook(
                name=hook["hookName"],
                path=hook["path"],
                args=tuple(hook.get("args") or ()),
                env=tuple(hook.get("env") or ()),
                timeout=hook.get("timeout"),
            )
            for hook in written.get("hooks") or ()
        ),
        groups=tuple(written.get("additionalGids") or ()),
    )


def _node(node: Mapping[str, Any]) -> Node:
    return Node(
        path=node["path"],
        host=node.get("hostPath") or node["path"],
        permissions=node.get("permissions") or "rwm",
        mode=node.get("fileMode"),
        uid=node.get("uid"),
        gid=node.get("gid"),
    )


def _once(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))
