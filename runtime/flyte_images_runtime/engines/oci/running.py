"""A task's container without a daemon: how it is ended, and what the runtime said if it never ran."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ...cgroup import Group
from ...errors import TaskError
from ...task.spec import TaskSpec
from ..subprocess_engine import ForegroundRunning
from .program import complaint


class OciRunning(ForegroundRunning):
    """See `engine.Running`. `process` is the runtime, which runs for as long as the container."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        log: int,
        spec: TaskSpec,
        group: Group | None,
        explain: Callable[[str, TaskSpec], TaskError],
    ) -> None:
        super().__init__(process, spec, group, explain)
        self._log = log

    def _kill(self) -> None:
        """End all that is in the task's cgroup, until its end is seen: a container that is being made comes later."""
        for attempt in range(200):
            for pid in self._processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self._process.poll() is not None:
                return
            if attempt == 100:  # the runtime itself hangs
                self._process.kill()
            time.sleep(0.005)

    def _processes(self) -> list[int]:
        """All that runs for the task. Without a cgroup: what the runtime has started, but not itself, who waits."""
        if self._group is not None:
            # 0 would be this process's own group; the runtime of an ordinary user is in the task's too, and waits
            return [pid for pid in self._group.processes() if pid not in (0, self._process.pid)]
        return below(self._process.pid)

    def _complaint(self) -> str:
        """What the runtime has written to its log, if it could not start the container."""
        size = os.fstat(self._log).st_size
        said = complaint(os.pread(self._log, min(size, 1 << 16), 0).decode(errors="replace"))
        return said if self._process.returncode != 0 else ""

    def _clean(self) -> None:
        os.close(self._log)
        self._log = -1


def below(pid: int) -> list[int]:
    """All processes that descend from one."""
    found, left = [], [pid]
    while left:
        with contextlib.suppress(OSError, ValueError):  # it has just ended
            for task in Path(f"/proc/{left.pop()}/task").iterdir():
                children = [int(child) for child in (task / "children").read_text(encoding="utf-8").split()]
                found += children
                left += children
    return found
