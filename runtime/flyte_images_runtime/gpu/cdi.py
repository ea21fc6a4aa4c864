"""Container Device Interface: specification files -> what a named device changes in a container.

Reads files and nothing else. Engines read the same files; a runtime that does not know CDI gets `Registry.edits(...)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DeviceError

if TYPE_CHECKING:
    from .cdi_document import ContainerEdits, DeviceNode, Document

DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))  # lowest priority first


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A device node: `path` in the container, `host` on this machine."""

    path: str
    host: str
    permissions: str = "rwm"
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or a directory of the host, shown in the container at `path`."""

    host: str
    path: str
    options: tuple[str, ...] = ("ro", "nosuid", "nodev", "rbind", "rprivate")
    type: str = "bind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A program that the runtime starts at a stage of the container's life: `createContainer`, `startContainer`, ..."""

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
        """Return both together; what they share is there once.

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
    """One file: devices of one kind, their edits by name, and the `common` edits of all of them."""

    kind: str
    path: Path
    devices: Mapping[str, Edits]
    common: Edits = Edits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """All specifications of a machine. `problems` says which files cannot be read, with line and field."""

    specs: tuple[Spec, ...] = ()
    problems: tuple[str, ...] = ()
    directories: tuple[Path, ...] = field(default=DIRECTORIES)

    def names(self, kind: str) -> dict[str, Edits]:
        """Return the devices of a kind. Where two files have one name, the directory of the higher priority wins."""
        devices: dict[str, Edits] = {}
        for spec in self.specs:
            if spec.kind == kind:
                devices.update(spec.devices)
        return devices

    def knows(self, names: Sequence[str]) -> bool:
        """Return whether each of these full names is in a file."""
        return all(name.partition("=")[2] in self.names(name.partition("=")[0]) for name in names)

    def edits(self, names: Sequence[str]) -> Edits:
        """Return the edits of the devices with these full names (`nvidia.com/gpu=0`), together.

        Raises DeviceError for a name that no file has.
        """
        total = Edits()
        for name in names:
            kind, _, device = name.partition("=")
            holding = [spec for spec in self.specs if spec.kind == kind and device in spec.devices]
            if not holding:
                hint = f"specifications are read from {', '.join(map(str, self.directories))}"
                if self.problems:
                    hint += f"; not a specification: {'; '.join(self.problems)}"
                raise DeviceError(f"no CDI specification has the device `{name}`", hint=hint)
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
                specs.append(_load(path))
            except (OSError, ValueError) as error:
                line = getattr(error, "line", 0)
                problems.append(f"{path}:{line}: {error}" if line else f"{path}: {error}")
    return Registry(specs=tuple(specs), problems=tuple(problems), directories=tuple(directories))


def _load(path: Path) -> Spec:
    from .cdi_document import load

    return _spec(load(path), path)


def parse(document: Mapping[str, Any], path: Path) -> Spec:
    """Return a document of the CDI specification (versions 0.3 to 1.0) as a value; ValueError names the wrong field.

    >>> spec = parse({"cdiVersion": "0.6.0", "kind": "acme.com/gpu", "devices": [
    ...     {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/acme0"}]}}]}, Path("acme.json"))
    >>> spec.devices["0"].nodes[0].host
    '/dev/acme0'
    """
    from .cdi_document import validate

    return _spec(validate(document), path)


def _spec(document: Document, path: Path) -> Spec:
    devices = {device.name: _edits(device.container_edits) for device in document.devices}
    return Spec(kind=document.kind, path=path, devices=devices, common=_edits(document.container_edits))


def _edits(edits: ContainerEdits) -> Edits:
    return Edits(
        env=edits.env,
        nodes=tuple(_node(node) for node in edits.device_nodes),
        mounts=tuple(
            Mount(
                host=mount.host_path,
                path=mount.container_path,
                options=mount.options or ("rbind", "rprivate"),
                type=mount.type or "bind",
            )
            for mount in edits.mounts
        ),
        hooks=tuple(
            Hook(name=hook.hook_name, path=hook.path, args=hook.args, env=hook.env, timeout=hook.timeout)
            for hook in edits.hooks
        ),
        groups=edits.additional_gids,
    )


def _node(node: DeviceNode) -> Node:
    return Node(
        path=node.path,
        host=node.host_path or node.path,
        permissions=node.permissions or "rwm",
        mode=node.file_mode,
        uid=node.uid,
        gid=node.gid,
    )


def _once(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))
