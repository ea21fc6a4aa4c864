"""A task's container under nerdctl: `nerdctl run` stays in the foreground as long as the container."""

from __future__ import annotations

import re
import subprocess
import time
from collections import deque
from collections.abc import Callable

from ...cgroup import Group
from ...errors import EngineLost, TaskError
from ...task.engine import Ending, OnLine, Stream
from ...task.exchange import Exchange
from ...task.spec import TaskSpec
from ...worker import paths
from ..subprocess_engine import ForegroundRunning, close_streams
from .program import Nerdctl, Refused, last_message

_REMOVAL = 30.0  # seconds until a container that ends can be removed
_TRIES = 5
# nerdctl lists all containers of its namespace before it makes one, and fails if one of them disappears meanwhile.
_OVERTAKEN = re.compile(r'container "[0-9a-f]+" in namespace ".*": not found')


class _Overtaken(Exception):
    """Another container disappeared while nerdctl listed them: run it again."""


def container_name(exchange: Exchange) -> str:
    return f"flyte-images-{exchange.name}"


class NerdctlRunning(ForegroundRunning):
    """A container of nerdctl.

    See `task.engine.Running`. nerdctl's own messages come at the end of the task's stderr.
    """

    patience = _REMOVAL

    def __init__(
        self,
        nerdctl: Nerdctl,
        exchange: Exchange,
        launch: Callable[[], subprocess.Popen[bytes]],
        spec: TaskSpec,
        group: Group,
        explain: Callable[[str, TaskSpec], TaskError],
    ) -> None:
        super().__init__(launch(), spec, group, explain)
        self._nerdctl = nerdctl
        self._exchange = exchange
        self._container = container_name(exchange)
        self._launch = launch
        self._last: deque[str] = deque(maxlen=20)

    def wait(self, on_line: OnLine) -> Ending:
        def keep(stream: Stream, line: str) -> None:
            if stream == "stderr":
                self._last.append(line)
            on_line(stream, line)

        for _ in range(_TRIES):
            try:
                return super().wait(keep)
            except _Overtaken:
                self._last.clear()
                close_streams(self._process)
                self._process = self._launch()
        return super().wait(keep)

    def pid(self) -> int | None:
        found = self._nerdctl.inspect("container", self._container)
        return int((found or {}).get("State", {}).get("Pid") or 0) or None

    def _complaint(self) -> str:
        """Return nerdctl's message if the task never began."""
        if self._process.returncode == 0 or self._exchange.time_of(paths.BEGAN) is not None:
            return ""
        message = last_message(self._last)
        if message and _OVERTAKEN.search(message):
            raise _Overtaken(message)
        return message

    def _clean(self) -> None:
        deadline = time.monotonic() + _REMOVAL
        while time.monotonic() < deadline:
            try:
                self._nerdctl.call("rm", "--force", "--volumes", self._container)
                break
            except Refused as refused:
                if "no such container" in str(refused).lower():
                    break
                time.sleep(0.1)
            except EngineLost:
                break
