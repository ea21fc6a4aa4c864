"""Decisions at the start of a container, common to root's containers and an ordinary user's."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...cgroup import Group
from ...errors import EngineLost
from ...gpu import cdi
from ...oci.bundle import CGROUP_FILES, DISK, LARGE
from ...oci.config import NodeNumber, Settings
from ...oci.network import name_servers
from ...task.spec import TaskSpec
from ..docker.container import environment

_TOP = "/sys/fs/cgroup"  # every runtime looks for version 2 here
_HOSTS = "127.0.0.1\tlocalhost task\n::1\tlocalhost ip6-localhost ip6-loopback\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """bundle: its directory; group: the task's cgroup, if any; tmp: a directory for /tmp, None for memory."""

    bundle: Path
    group: Group | None
    user: tuple[int, int]
    library: str
    files: Mapping[str, str]
    edits: cdi.Edits
    tmp: Path | None = None
    ordinary_user: bool = False


def container_settings(spec: TaskSpec, here: Surroundings) -> Settings:
    """Return the settings, which the specification does not contain."""
    limits, group = spec.limits, here.group
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Settings(
        user=here.user,
        library=here.library,
        shm=limits.shm or limits.memory or memory // 2,
        cgroup=_container_group(group, ordinary_user=here.ordinary_user) if group else "",
        environment=environment(spec),
        tmp=str(here.tmp) if here.tmp else None,
        large=str(here.bundle / LARGE),
        disk=str(here.bundle / DISK),
        groups=tuple(_own_groups(group, here.bundle)) if group else (),
        files=tuple((str(here.bundle / name), f"/etc/{name}") for name in here.files),
        network="new" if spec.network == "none" else "inherited",
        edits=here.edits,
        nodes=_nodes(here.edits),
        open_files=min(1 << 20, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        ordinary_user=here.ordinary_user,
        processes=_most(resource.getrlimit(resource.RLIMIT_NPROC)[1]),
    )


def _container_group(group: Group, *, ordinary_user: bool) -> str:
    """Return the path of the container's cgroup, below the task's.

    That of a user is absolute, below its delegated part.
    """
    if not ordinary_user:
        return f"{group.engine_parent}/container"
    if not group.directory.is_relative_to(_TOP):
        raise EngineLost(f"the cgroup {group.directory} is not below {_TOP}, where OCI runtimes look for it")
    return f"/{group.directory.relative_to(_TOP)}/container"


def _most(limit: int) -> int:
    return 1 << 22 if limit == resource.RLIM_INFINITY else limit


def own_files(spec: TaskSpec, name_server: str | None = None) -> dict[str, str]:
    """Return the files of /etc that come from here and not from the image."""
    if spec.network == "host":
        return {name: _read(f"/etc/{name}") for name in ("hosts", "hostname", "resolv.conf")}
    files = {"hosts": _HOSTS, "hostname": "task\n"}
    if spec.network == "outbound":
        known = f"nameserver {name_server}\n" if name_server else _read("/etc/resolv.conf")
        files["resolv.conf"] = name_servers(known, _read("/run/systemd/resolve/resolv.conf"))
    return files


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def _own_groups(group: Group, bundle: Path) -> list[tuple[str, str]]:
    """Return the binds that show the task's cgroup where programs look for it."""
    if group.hierarchies.version == 2:
        return [(str(group.directory), _TOP)]
    below, legacy = group.engine_parent.lstrip("/"), group.hierarchies.legacy
    return [
        (str(bundle / "cgroup"), _TOP),
        *((str(legacy[name] / below), f"{_TOP}/{name}") for name in CGROUP_FILES if name in legacy),
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
