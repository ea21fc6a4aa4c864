"""A task's container on Docker Engine: its streams, its end and its removal."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from ...cgroup import Group
from ...errors import EngineLost, Killed
from ...resources.metrics import Usage
from ...task.engine import Ending, OnLine, Stream
from ...task.line_splitter import LineSplitter
from ...task.spec import TaskSpec
from ..reaper import engine_lost
from .api import Api, Attachment, Refused
from .stats import usage_of

_REMOVAL = 30.0  # seconds to wait for a removal that another process has begun
_left: list[tuple[Api, str]] = []
"""Containers on engines that went away. If this process does not reach them again, its helper or a sweep does."""


class DockerRunning:
    """A container of Docker. See `task.engine.Running`."""

    def __init__(self, api: Api, container: str, spec: TaskSpec, group: Group | None) -> None:
        self._api = api
        self._id = container
        self._spec = spec
        self._group = group
        self._streams: Attachment | None = None
        self._cancelled = False
        self._timed_out = False
        self._removed = threading.Lock()
        self._deadline: float | None = None

    def start(self, prepare: Callable[[int], None] | None = None) -> None:
        """Start the container. `prepare` gets the pid of its first process before it runs, where that exists early."""
        if _left:
            _delete_left(self._api)
        self._streams = self._api.attach(self._id)
        if prepare is not None:
            prepare(self.pid() or 0)
        self._api.call("POST", f"/containers/{self._id}/start")
        if self._spec.timeout is not None:
            self._deadline = time.monotonic() + self._spec.timeout

    def wait(self, on_line: OnLine) -> Ending:
        assert self._streams is not None
        names: dict[int, Stream] = {1: "stdout", 2: "stderr"}
        lines = {number: LineSplitter(name, on_line) for number, name in names.items()}

        def pass_on(number: int, content: bytes) -> None:
            if number in lines:
                lines[number].feed(content)

        killed = False
        while self._streams.read(pass_on, None if killed else self._time_left()):
            if not killed and (self._cancelled or self._time_left() == 0):
                self._timed_out = not self._cancelled
                self._kill()
                killed = True  # the streams now end by themselves, and are read to their end
        for each in lines.values():
            each.finish()
        return self._ending()

    def _time_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def pid(self) -> int | None:
        found = int(self._api.call("GET", f"/containers/{self._id}/json")["State"].get("Pid") or 0)
        return found or None

    def usage(self) -> Usage:
        group = self._group
        usage = group.usage_with_traffic() if group is not None else Usage()
        if usage.cpu or not self._id:
            return usage
        with contextlib.suppress(Refused, EngineLost):  # the container has just ended
            once: dict[str, Any] = {"stream": "false", "one-shot": "true"}
            reported = usage_of(self._api.call("GET", f"/containers/{self._id}/stats", **once))
            return reported if reported.cpu else Usage()  # the figures of an ended container are zero
        return Usage()

    def cancel(self) -> None:
        self._cancelled = True
        if self._streams is not None:
            self._streams.wake()

    def _kill(self) -> None:
        # Refused: the container has just ended
        with contextlib.suppress(Refused):
            self._api.call("POST", f"/containers/{self._id}/kill")

    def _ending(self) -> Ending:
        try:
            self._api.call("POST", f"/containers/{self._id}/wait", timeout=None)
            state = self._api.call("GET", f"/containers/{self._id}/json")["State"]
        except Refused as refused:
            raise Killed(
                f"task `{self._spec.task}` ended because its container was removed: {refused}",
                task=self._spec.task,
                hint="another program removed it: `docker rm -f`, or `docker container prune`",
                exit_status=128 + 9,
            ) from None
        except EngineLost as lost:
            raise EngineLost(
                f"the engine went away while task `{self._spec.task}` ran: {lost}",
                task=self._spec.task,
                hint="start it again, then the task; see `flyte-images doctor`",
            ) from None
        return Ending(
            exit_status=int(state.get("ExitCode", 0)),
            oom_killed=bool(state.get("OOMKilled")),
            timed_out=self._timed_out,
            cancelled=self._cancelled,
            usage=self._usage(),
        )

    def _usage(self) -> Usage:
        usage = self._group.usage() if self._group is not None else Usage()
        return usage if usage.cpu else Usage()  # nothing ran in the cgroup: the engine is on another host

    def remove(self) -> None:
        with self._removed:
            if self._streams is not None:
                self._streams.close()
                self._streams = None
            if self._id:
                try:
                    _delete(self._api, self._id)
                except EngineLost:
                    _left.append((self._api, self._id))
                    engine_lost(self._api.address)
                self._id = ""
            if self._group is not None:
                self._group.kill()  # an engine that went away leaves the processes running
                self._group.remove()
                self._group = None


def _delete(api: Api, container: str) -> None:
    """Remove the container, or wait until another process has removed it."""
    deadline = time.monotonic() + _REMOVAL
    while time.monotonic() < deadline:
        try:
            api.call("DELETE", f"/containers/{container}", force="true", v="true")
        except Refused as refused:
            if refused.status == 404:
                return
            time.sleep(0.1)  # 409: another process removes the container
        else:
            return


def _delete_left(api: Api) -> None:
    """Remove the containers that could not be removed before, now that the engine is back."""
    for one in [one for one in _left if one[0] == api]:
        with contextlib.suppress(EngineLost, ValueError):
            _delete(*one)
            _left.remove(one)
