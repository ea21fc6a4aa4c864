"""A task's container of an OCI runtime: its processes, and the runtime's message if it never ran."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from ...cgroup import Group
from ...errors import EngineLost, TaskError
from ...task.spec import TaskSpec
from ..subprocess_engine import ForegroundRunning
from .program import complaint


@contextlib.contextmanager
def runtime_log(spec: TaskSpec, group: Group | None) -> Iterator[int]:
    """Give a descriptor for the log of the runtime while a container is made.

    On an error the log is closed and the cgroup is removed; an OSError becomes an EngineLost.
    """
    log = os.memfd_create("flyte-images-log", os.MFD_CLOEXEC)
    try:
        yield log
    except BaseException as error:
        os.close(log)
        if group is not None:
            group.remove()
        if isinstance(error, OSError):
            raise EngineLost(f"the container could not be made: {error}", task=spec.task) from None
        raise


class OciRunning(ForegroundRunning):
    """A container of an OCI runtime. `process` is the runtime, which runs as long as the container.

    See `task.engine.Running`.
    """

    patience = 0.5

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

    def _processes(self) -> list[int]:
        """Return the processes of the container, without the runtime, which waits for them.

        The runtime of an ordinary user is in the task's cgroup too. Without a cgroup: the descendants of the runtime.
        """
        found = below(self._process.pid) if self._group is None else super()._processes()
        return [pid for pid in found if pid != self._process.pid]

    def _complaint(self) -> str:
        """Return the last error in the runtime's log, if it could not start the container."""
        size = os.fstat(self._log).st_size
        message = complaint(os.pread(self._log, min(size, 1 << 16), 0).decode(errors="replace"))
        return message if self._process.returncode != 0 else ""

    def _clean(self) -> None:
        os.close(self._log)
        self._log = -1


def below(pid: int) -> list[int]:
    """Return the pids of all descendants of a process."""
    found, left = [], [pid]
    while left:
        with contextlib.suppress(OSError, ValueError):  # the process has just ended
            for task in Path(f"/proc/{left.pop()}/task").iterdir():
                children = [int(child) for child in (task / "children").read_text(encoding="utf-8").split()]
                found += children
                left += children
    return found
