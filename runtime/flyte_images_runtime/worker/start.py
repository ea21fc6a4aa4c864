"""The container's first process: it starts the task in a child, reaps, and leaves when the caller is gone.

As the first process of its pid namespace it takes everything down with it when it exits, whatever the task has started.
It leaves `end.json`: how the child ended, what it used, and what the cgroup's files say.
"""

from __future__ import annotations

import os
import select
import sys
import time

if sys.version_info < (3, 8):
    sys.stderr.write("Python %d.%d is too old to run a task\n" % sys.version_info[:2])
    sys.exit(1)

try:  # the other one makes enumerations of its numbers, which takes longer than all else here
    import _signal as signal  # type: ignore[import-not-found]
except ImportError:
    import signal

if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from flyte_images_runtime.portable import fast_json
from flyte_images_runtime.worker import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EVERY = 0.2  # seconds between two looks at the memory
_GRACE = 5.0  # seconds between the polite signal and the other, for a task that is to be stopped
_FILES = {
    "cpu": ("cpu.stat",),
    "cpuacct": ("cpuacct.usage",),
    "memory": ("memory.peak", "memory.events", "memory.max_usage_in_bytes", "memory.oom_control"),
    "pids": ("pids.peak",),
    "io": ("io.stat",),
    "blkio": ("blkio.throttle.io_service_bytes",),
}


def main() -> None:
    if os.path.exists(paths.IN + "/" + paths.WORK):  # warm: calls come and go, this process and the next one stay
        from flyte_images_runtime.worker.dumpable import set_dumpable

        set_dumpable(False)
    child = os.fork()
    if child == 0:
        _become_the_task()
    else:
        os._exit(_watch(child, "--watch-stdin" in sys.argv))


def _become_the_task() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    from flyte_images_runtime.worker import process_exit, task

    if "--await-network" in sys.argv:
        from flyte_images_runtime.worker import way_out

        way_out.wait_for_it()
    status = task.main()
    if process_exit.needs_all_of_it():
        sys.exit(status)
    process_exit.end(status)


def _watch(child: int, watch_stdin: bool) -> int:
    """Wait for the child; return what to exit with."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: _send(child, received))
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    if watch_stdin:
        poll.register(0, select.POLLIN | select.POLLHUP | select.POLLERR)
    memory = _Memory()
    stopping = _Stopping(child)
    while True:
        ended = _reap(child)
        if ended is not None:
            _leave_end(ended, memory)
            status = ended[0]
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        for descriptor, _ in poll.poll(_EVERY * 1000):
            if descriptor == wake:
                os.read(wake, 512)
            elif not _still_there():
                return paths.ABANDONED
        memory.look()
        stopping.look()


class _Stopping:
    """Ends the child when the caller's user asks for it, by a file: that works on every engine, and needs no rights."""

    def __init__(self, child: int) -> None:
        self._child = child
        self._asked: float | None = None

    def look(self) -> None:
        if self._asked is None:
            if os.path.exists(paths.IN + "/" + paths.STOP):
                self._asked = time.monotonic()
                _send(self._child, signal.SIGTERM)
        elif time.monotonic() - self._asked > _GRACE:
            _send(self._child, signal.SIGKILL)


def _send(child: int, number: int) -> None:
    try:
        os.kill(child, number)
    except OSError:
        pass


def _reap(child: int) -> tuple[int, Any] | None:
    """Collect every process that has ended; (status, usage) if the child is among them."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == child:
            return status, usage


def _still_there() -> bool:
    try:
        return bool(os.read(0, 4096))
    except BlockingIOError:
        return True
    except OSError:
        return False


class _Memory:
    """The largest processes, as they were when memory last grew: after a kill nobody can tell any more."""

    def __init__(self) -> None:
        self.largest: list[list[Any]] = []
        self._at = 0
        self._path = _path("memory", "memory.current") or _path("memory", "memory.usage_in_bytes")

    def look(self) -> None:
        used = int(_read(self._path) or 0) if self._path else 0
        if used > self._at * 1.05:
            self._at = used
            processes = _processes()[:3]
            if processes and processes[0][1] > 0:  # one that is being killed has none any more
                self.largest = processes


def _processes() -> list[list[Any]]:
    page = os.sysconf("SC_PAGE_SIZE")
    found: list[list[Any]] = []
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            resident = (_read("/proc/%s/statm" % name) or "0 0").split()[1]
            command = (_read("/proc/%s/cmdline" % name) or "").replace("\0", " ").strip()
            found.append([int(name), int(resident) * page, command[:200]])
    return sorted(found, key=lambda process: -process[1])


def _path(controller: str, file: str) -> str | None:
    for place in ("/sys/fs/cgroup/" + file, "/sys/fs/cgroup/%s/%s" % (controller, file)):
        if os.path.exists(place):
            return place
    return None


def _read(path: str) -> str | None:
    try:
        with open(path, errors="replace") as file:
            return file.read(65536)
    except OSError:
        return None


def cgroup_paths() -> dict[str, str]:
    """Where the cgroup's files are, by their names."""
    found = ((file, _path(controller, file)) for controller, files in _FILES.items() for file in files)
    return {file: path for file, path in found if path is not None}


def _cgroup_files() -> dict[str, str]:
    """What the cgroup's files say, by their names; the caller knows how to read them."""
    contents = ((file, _read(path)) for file, path in cgroup_paths().items())
    return {file: content for file, content in contents if content is not None}


def _leave_end(ended: tuple[int, Any], memory: _Memory) -> None:
    status, usage = ended
    end = {
        "status": status,
        "time": time.time(),
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * 1024,
        "cgroup": _cgroup_files(),
        "network": _read("/proc/net/dev"),
        "largest": memory.largest,
    }
    try:
        with open(paths.OUT + "/." + paths.END, "w") as target:
            target.write(fast_json.dumps(end))
        os.rename(paths.OUT + "/." + paths.END, paths.OUT + "/" + paths.END)
    except OSError:
        pass  # a full disk; the caller knows most of it from the outside


if __name__ == "__main__":
    main()
