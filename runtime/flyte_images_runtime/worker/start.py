"""The container's first process: it starts the task in a child, reaps processes, and exits when the caller is gone.

It is the first process of its pid namespace, so all processes that the task has started end when it exits. It leaves
`end.json`: how the child ended, what the child used, and the contents of the cgroup's files.
"""

from __future__ import annotations

import os
import select
import sys
import time

if sys.version_info < (3, 8):
    sys.stderr.write("Python %d.%d is too old to run a task\n" % sys.version_info[:2])
    sys.exit(1)

try:  # `signal` makes enumerations of its numbers, which takes longer than all else in this module
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

_INTERVAL = 0.2  # seconds between two looks at the memory
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL, for a task that is to be stopped


def main() -> None:
    if os.path.exists(paths.IN + "/" + paths.WORK):  # a warm container: calls must not write to this process's memory
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

        way_out.wait_for_network()
    status = perform_call(task.load_call())
    if process_exit.has_foreign_code():
        sys.exit(status)
    process_exit.end(status)


def perform_call(call: dict[str, Any]) -> int:
    """Become a shell, serve the calls of a warm container, or perform one call. Return the exit status."""
    from flyte_images_runtime.worker import stub, task

    task.prepare(call)
    if call.get("shell"):
        from flyte_images_runtime.worker import shell

        return shell.main(call)
    stub.install()
    if call.get("serve"):
        from flyte_images_runtime.worker import serve

        return serve.main(call)
    return task.main(call)


def _watch(child: int, watch_stdin: bool) -> int:
    """Wait for the child; return the exit status of this process."""
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
    memory = _MemoryWatch()
    stop = _StopRequest(child)
    while True:
        ended = _reap(child)
        if ended is not None:
            _leave_end(ended, memory)
            status = ended[0]
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        for descriptor, _ in poll.poll(_INTERVAL * 1000):
            if descriptor == wake:
                os.read(wake, 512)
            elif not _caller_is_there():
                return paths.ABANDONED
        memory.look()
        stop.look()


class _StopRequest:
    """Ends the child when the caller has made the file `stop`: this works on every engine and needs no rights."""

    def __init__(self, child: int) -> None:
        self._child = child
        self._since: float | None = None

    def look(self) -> None:
        if self._since is None:
            if os.path.exists(paths.IN + "/" + paths.STOP):
                self._since = time.monotonic()
                _send(self._child, signal.SIGTERM)
        elif time.monotonic() - self._since > _GRACE:
            _send(self._child, signal.SIGKILL)


def _send(child: int, number: int) -> None:
    try:
        os.kill(child, number)
    except OSError:
        pass


def _reap(child: int) -> tuple[int, Any] | None:
    """Collect every process that has ended; return (status, usage) if the child is among them."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == child:
            return status, usage


def _caller_is_there() -> bool:
    """Return whether the other end of stdin is open: the caller holds it for as long as it lives."""
    try:
        return bool(os.read(0, 4096))
    except BlockingIOError:
        return True
    except OSError:
        return False


class _MemoryWatch:
    """Keeps the largest processes as of the last growth of memory: after an out-of-memory kill they are gone."""

    def __init__(self) -> None:
        from flyte_images_runtime.worker import cgroup_files

        self.largest: list[list[Any]] = []
        self._highest = 0
        self._path = cgroup_files.used_memory_path()

    def look(self) -> None:
        from flyte_images_runtime.worker import cgroup_files

        used = int(cgroup_files.read(self._path) or 0) if self._path else 0
        if used > self._highest * 1.05:
            self._highest = used
            processes = _processes()[:3]
            if processes and processes[0][1] > 0:  # a process that is being killed has no memory any more
                self.largest = processes


def _processes() -> list[list[Any]]:
    """Return [pid, resident bytes, command line] of each process but this one, the largest first."""
    from flyte_images_runtime.worker.cgroup_files import read

    page = os.sysconf("SC_PAGE_SIZE")
    processes: list[list[Any]] = []
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            resident = (read("/proc/%s/statm" % name) or "0 0").split()[1]
            command = (read("/proc/%s/cmdline" % name) or "").replace("\0", " ").strip()
            processes.append([int(name), int(resident) * page, command[:200]])
    return sorted(processes, key=lambda process: -process[1])


def _leave_end(ended: tuple[int, Any], memory: _MemoryWatch) -> None:
    from flyte_images_runtime.worker import cgroup_files

    status, usage = ended
    end = {
        "status": status,
        "time": time.time(),
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * 1024,
        "cgroup": cgroup_files.read_end_files(),
        "network": cgroup_files.read("/proc/net/dev"),
        "largest": memory.largest,
    }
    try:
        with open(paths.OUT + "/." + paths.END, "w") as target:
            target.write(fast_json.dumps(end))
        os.rename(paths.OUT + "/." + paths.END, paths.OUT + "/" + paths.END)
    except OSError:
        pass  # the disk is full; the caller sees most of these figures from outside


if __name__ == "__main__":
    main()
