"""A task whose engine is a program in the foreground: the program has the container's streams, and ends with it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from ..cgroup import Group
from ..errors import TaskError
from ..resources.metrics import Usage
from ..task.engine import Ending, OnLine, Stream
from ..task.line_splitter import LineSplitter
from ..task.spec import TaskSpec
from .outcome import killed_at_start


class ForegroundRunning:
    """The common part of such engines. A subclass explains the program's messages and removes the container."""

    patience = 0.5
    """Seconds between the first kill and that of the program itself."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        spec: TaskSpec,
        group: Group | None,
        explain: Callable[[str, TaskSpec], TaskError],
    ) -> None:
        self._process = process
        self._spec = spec
        self._explain = explain
        self._group = group
        self._cancelled = False
        self._timed_out = False
        self._guard = threading.Lock()
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._deadline = None if spec.timeout is None else time.monotonic() + spec.timeout

    def wait(self, on_line: OnLine) -> Ending:
        killed = False
        streams = self._streams(on_line)
        poll = select.poll()
        for number in (*streams, self._wake):
            poll.register(number, select.POLLIN)
        while streams:
            left = None if killed else self._time_left()
            for number, _ in poll.poll(None if left is None else left * 1000 + 1):
                if number == self._wake:
                    os.read(self._wake, 64)
                    continue
                arrived = os.read(number, 1 << 16)
                if arrived:
                    streams[number].feed(arrived)
                else:
                    poll.unregister(number)
                    streams.pop(number).finish()
            if not killed and (self._cancelled or self._time_left() == 0):
                self._timed_out = not self._cancelled
                killed = True
                self._kill()
        self._process.wait()
        usage = Usage() if self._group is None else self._group.usage()
        if not (self._cancelled or self._timed_out) and (message := self._complaint()):
            raise killed_at_start(message, self._spec, usage) or self._explain(message, self._spec)
        return Ending(
            exit_status=self._process.returncode if self._process.returncode >= 0 else 128 - self._process.returncode,
            oom_killed=bool(usage.oom_kills),
            timed_out=self._timed_out,
            cancelled=self._cancelled,
            usage=usage,
        )

    def pid(self) -> int | None:
        return self._process.pid

    def usage(self) -> Usage:
        return Usage() if self._group is None else self._group.usage_with_traffic()

    def cancel(self) -> None:
        with self._guard:
            self._cancelled = True
            if self._waker >= 0:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._waker, b".")

    def remove(self) -> None:
        with self._guard:
            if self._waker < 0:
                return
            if self._process.poll() is None:
                self._kill()
                self._process.wait()
            close_streams(self._process)
            for number in (self._wake, self._waker):
                os.close(number)
            self._wake = self._waker = -1
            self._clean()
            if self._group is not None:
                self._group.remove()

    def _kill(self) -> None:
        """Kill the processes of the container until the program has ended.

        Again and again: a container that is still being made gets its first process later.
        """
        deadline = time.monotonic() + self.patience
        while True:
            for pid in self._processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self._process.poll() is not None:
                return
            if time.monotonic() > deadline:  # the program itself hangs
                self._process.kill()
            time.sleep(0.005)

    def _processes(self) -> list[int]:
        """Return the pids in the cgroup of the task, without 0, which stands for a process of another namespace."""
        return [pid for pid in self._group.processes() if pid] if self._group is not None else []

    def _complaint(self) -> str:
        """Return the program's message if it could not start the container, else ""."""
        raise NotImplementedError

    def _clean(self) -> None:
        """Remove what is left of the container. Called once, after its end and before the cgroup is removed."""
        raise NotImplementedError

    def _streams(self, on_line: OnLine) -> dict[int, LineSplitter]:
        names: tuple[Stream, Stream] = ("stdout", "stderr")
        files = (self._process.stdout, self._process.stderr)
        return {
            file.fileno(): LineSplitter(name, on_line)
            for name, file in zip(names, files, strict=True)
            if file is not None
        }

    def _time_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())


def close_streams(process: subprocess.Popen[bytes]) -> None:
    """Close this side of a process's streams."""
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
