"""The tasks that run on this machine now, of this user: found by their exchange directories, whatever started them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .cgroup import Group
from .cgroup.group import parse_mounts
from .exchange import ABOUT, memory_base
from .metrics import Usage
from .owner import parse, short

if TYPE_CHECKING:
    from .engines.docker.api import Api

_GRACE = 5.0  # seconds between the polite signal and the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """One running task. `id` is what a person types: the caller's pid and a number."""

    name: str
    task: str
    image: str
    engine: str
    since: float

    @property
    def id(self) -> str:
        """`PID-NUMBER`.

        >>> Active(name="0a1b2c3d-4026531836-17-999-3", task="", image="", engine="", since=0).id
        '17-3'
        """
        return short(self.name)

    @property
    def group(self) -> Group:
        return Group(self.name, parse_mounts(Path("/proc/self/mounts").read_text(encoding="utf-8")))

    def usage(self) -> Usage:
        """What it has used until now, where its cgroup can be read."""
        return self.group.now()


def active() -> list[Active]:
    """Those whose caller lives, the oldest first."""
    found: list[Active] = []
    with contextlib.suppress(OSError):
        for entry in memory_base().iterdir():
            owner = parse(entry.name)
            if owner is None or owner.is_gone():
                continue
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                said = json.loads((entry / ABOUT).read_text(encoding="utf-8"))
                found.append(
                    Active(
                        name=entry.name,
                        task=str(said["task"]),
                        image=str(said["image"]),
                        engine=str(said["engine"]),
                        since=float(said["since"]),
                    )
                )
    return sorted(found, key=lambda one: one.since)


def stop(one: Active, docker: Api | None) -> bool:
    """End a task: politely, then not. False if that cannot be done from here. Its caller gets `Killed`."""
    if one.engine == "docker" and docker is not None:
        from .engines.docker.api import Refused

        with contextlib.suppress(Refused):  # it has just ended
            docker.call("POST", f"/containers/flyte-images-{one.name}/stop", t=int(_GRACE), timeout=60 + _GRACE)
        return True
    group = one.group
    if not group.processes():
        return False
    _signal(group, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    while group.processes() and time.monotonic() < deadline:
        time.sleep(0.02)
    _signal(group, signal.SIGKILL)
    return True


def _signal(group: Group, number: signal.Signals) -> None:
    for pid in filter(None, group.processes()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
