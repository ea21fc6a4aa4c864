"""A task's container without a daemon: its streams, its end, its removal."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from ...cgroup import Group
from ...engine import Ending, OnLine, Stream
from ...failures import TaskError
from ...lines import Lines
from ...metrics import Usage
from ...spec import TaskSpec
from .program import complaint


class OciRunning:
    """See `engine.Running`. `process` is the runtime, which runs for as long as the container."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        log: int,
        spec: TaskSpec,
        group: Group,
        explain: Callable[[str, TaskSpec], TaskError],
    ) -> None:
        self._process = process
        self._log = log
        self._spec = spec
        self._group = group
        self._explain = explain
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
        self._complain()
        usage = self._group.usage()
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
        return self._group.now()

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
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()
            for number in (self._wake, self._waker, self._log):
                os.close(number)
            self._wake = self._waker = self._log = -1
            self._group.remove()

    def _streams(self, on_line: OnLine) -> dict[int, Lines]:
        names: tuple[Stream, Stream] = ("stdout", "stderr")
        files = (self._process.stdout, self._process.stderr)
        return {
            file.fileno(): Lines(name, on_line) for name, file in zip(names, files, strict=True) if file is not None
        }

    def _time_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _kill(self) -> None:
        """End all that is in the task's cgroup, until its end is seen: a container that is being made comes later."""
        for attempt in range(200):
            for pid in filter(None, self._group.processes()):  # 0 would be this process's own group
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self._process.poll() is not None:
                return
            if attempt == 100:  # the runtime itself hangs
                self._process.kill()
            time.sleep(0.005)

    def _complain(self) -> None:
        """Raise what the runtime has written to its log, if it could not start the container."""
        if self._cancelled or self._timed_out:
            return
        size = os.fstat(self._log).st_size
        said = complaint(os.pread(self._log, min(size, 1 << 16), 0).decode(errors="replace"))
        if said and self._process.returncode != 0:
            raise self._explain(said, self._spec)
