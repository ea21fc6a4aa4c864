"""This user's running tasks on this machine, found by their exchange directories, whatever process started them."""

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

GRACE = 5.0  # seconds between SIGTERM and SIGKILL, both sent by the container's first process
_MORE = 3.0  # seconds until the container is ended from outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """One running task. `id` is for people to type: the run's, else the caller's pid and a number."""

    name: str
    task: str
    image: str
    engine: str
    since: float
    run: str = ""
    path: str = ""

    @property
    def id(self) -> str:
        """The id of the run, else `PID-NUMBER`: for a shell, and for a warm container.

        >>> Active(name="0a1b2c3d-4026531836-17-999-3", task="", image="", engine="", since=0).id
        '17-3'
        """
        return self.run or self.short

    @property
    def short(self) -> str:
        """The caller's pid and the number of the container, also for a run with an id."""
        return short(self.name)

    @property
    def group(self) -> Group:
        return group_of(self.path or self.name)

    def usage(self, api: Callable[[], Api | None] = lambda: None) -> Usage:
        """Return the usage so far: from the task's cgroup, else from the engine's API."""
        usage = self.group.usage_with_traffic()
        if usage.cpu or (docker := api()) is None:
            return usage
        from ..engines.docker.api import Refused
        from ..engines.docker.stats import usage_of
        from ..errors import EngineLost

        with contextlib.suppress(Refused, EngineLost):  # the task has just ended
            once: dict[str, Any] = {"stream": "false", "one-shot": "true"}
            return usage_of(docker.call("GET", f"/containers/flyte-images-{self.name}/stats", **once))
        return usage


def active() -> list[Active]:
    """Return the tasks whose callers live, the oldest first."""
    found: list[Active] = []
    with contextlib.suppress(OSError):
        for entry in left_over(""):
            owner = parse(entry.name)
            if owner is None or owner.is_gone():
                continue
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                document = json.loads((entry / ABOUT).read_text(encoding="utf-8"))
                found.append(
                    Active(
                        name=entry.name,
                        task=str(document["task"]),
                        image=str(document["image"]),
                        engine=str(document["engine"]),
                        since=float(document["since"]),
                        run=str(document.get("run") or ""),
                        path=str(document.get("group") or ""),
                    )
                )
    return sorted(found, key=lambda task: task.since)


def stop(task: Active, docker: Api | None = None) -> bool:
    """End a task: first by SIGTERM, then by force. Return False if this process cannot. The caller gets `Killed`.

    A file asks the container's first process to end, which works on every engine, for every user who may write to the
    exchange. Only if that fails, the engine ends the task: `docker`, if its API is Docker's.
    """
    place = _place(task)
    try:
        (place / "in" / STOP).touch()
    except OSError:
        return False  # the task has just ended
    deadline = time.monotonic() + GRACE + _MORE
    while not _has_ended(task, place):
        if time.monotonic() > deadline:
            return _end_at_once(task, docker)
        time.sleep(0.02)
    return True


def _place(task: Active) -> Path:
    """Return the directory of the task's inputs."""
    found = [path for path in left_over(task.name) if path.name == task.name and (path / ABOUT).exists()]
    return found[0] if found else memory_base() / task.name


def _has_ended(task: Active, place: Path) -> bool:
    """Return whether the first process has written its end, all processes have ended, or the caller has cleaned up."""
    if not place.exists():
        return True
    group = task.group
    if group.exists() and not group.processes():
        return True
    with contextlib.suppress(OSError):  # on an engine of another user this user cannot read the outputs
        return (disk_base() / task.name / "out" / END).exists()
    return False


def _end_at_once(task: Active, docker: Api | None) -> bool:
    if docker is not None:
        from ..engines.docker.api import Refused

        with contextlib.suppress(Refused):  # the task has just ended
            docker.call("POST", f"/containers/flyte-images-{task.name}/kill")
        return True
    return task.group.kill()
