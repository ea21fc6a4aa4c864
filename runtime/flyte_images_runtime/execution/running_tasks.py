"""The tasks that run on this machine now, of this user: found by their exchange directories, whatever started them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cgroup import Group, group_of
from ..resources.metrics import Usage
from ..system.process_id import parse, short
from ..task.exchange import ABOUT, disk_base, left_over, memory_base
from ..worker.paths import END, STOP

if TYPE_CHECKING:
    from ..engines.docker.api import Api

GRACE = 5.0  # seconds between the polite signal and the other, which the container's first process sends
_MORE = 3.0  # until it has to be done from the outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """One running task. `id` is what a person types: the run's, or of what is no run the caller's pid and a number."""

    name: str
    task: str
    image: str
    engine: str
    since: float
    run: str = ""
    path: str = ""

    @property
    def id(self) -> str:
        """The run's, else `PID-NUMBER`: of a shell, and of a container that is kept warm.

        >>> Active(name="0a1b2c3d-4026531836-17-999-3", task="", image="", engine="", since=0).id
        '17-3'
        """
        return self.run or self.short

    @property
    def short(self) -> str:
        """The caller's pid and a number: of the container, whatever runs in it."""
        return short(self.name)

    @property
    def group(self) -> Group:
        return group_of(self.path or self.name)

    def usage(self, api: Callable[[], Api | None] = lambda: None) -> Usage:
        """What it has used until now, as its cgroup says; where there is none of ours, as the engine's API does."""
        usage = self.group.usage_with_traffic()
        if usage.cpu or (docker := api()) is None:
            return usage
        from ..engines.docker.api import Refused
        from ..engines.docker.stats import usage_of
        from ..errors import EngineLost

        with contextlib.suppress(Refused, EngineLost):  # it has just ended
            once: dict[str, Any] = {"stream": "false", "one-shot": "true"}
            return usage_of(docker.call("GET", f"/containers/flyte-images-{self.name}/stats", **once))
        return usage


def active() -> list[Active]:
    """Those whose caller lives, the oldest first."""
    found: list[Active] = []
    with contextlib.suppress(OSError):
        for entry in left_over(""):
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
                        run=str(said.get("run") or ""),
                        path=str(said.get("group") or ""),
                    )
                )
    return sorted(found, key=lambda one: one.since)


def stop(one: Active, docker: Api | None = None) -> bool:
    """End a task: politely, then not. False if that cannot be done from here. Its caller gets `Killed`.

    The container's first process is asked, by a file: so it works on every engine, for whoever may write to the
    exchange. Only if that does not help the engine has to do it: `docker`, if its API is Docker's.
    """
    place = _place(one)
    try:
        (place / "in" / STOP).touch()
    except OSError:
        return False  # it has just ended
    deadline = time.monotonic() + GRACE + _MORE
    while not _has_ended(one, place):
        if time.monotonic() > deadline:
            return _end_at_once(one, docker)
        time.sleep(0.02)
    return True


def _place(one: Active) -> Path:
    """The directory of its inputs."""
    found = [path for path in left_over(one.name) if path.name == one.name and (path / ABOUT).exists()]
    return found[0] if found else memory_base() / one.name


def _has_ended(one: Active, place: Path) -> bool:
    """Has the first process said its last word, have all ended, or has the caller cleaned up?"""
    if not place.exists():
        return True
    group = one.group
    if group.exists() and not group.processes():
        return True
    with contextlib.suppress(OSError):  # on an engine of another user the outputs are that user's
        return (disk_base() / one.name / "out" / END).exists()
    return False


def _end_at_once(one: Active, docker: Api | None) -> bool:
    if docker is not None:
        from ..engines.docker.api import Refused

        with contextlib.suppress(Refused):  # it has just ended
            docker.call("POST", f"/containers/flyte-images-{one.name}/kill")
        return True
    return one.group.kill()
