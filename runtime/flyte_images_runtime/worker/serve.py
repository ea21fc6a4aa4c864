"""A warm container: the module is imported once, then each call is a fork of this process, one at a time.

The caller first sends two pipes, stdout and stderr of all calls, and then one call after the other. For each call the
caller receives the result and how the fork ended. The fork is made before its call arrives, and waits for the call.
Between two calls nothing of the first one remains: no process, and no file in /tmp, /dev/shm, home and the message
queues. A byte after the answer reports traces that cannot be removed; the caller then discards the container. A call
cannot write this process's memory.

With `fork=False` this process performs the calls itself, and a call sees what the calls before it have left.

The cost of a fork is mostly the pages that it and this process write to, so this module imports as little as possible,
and above all not `threading`, whose hook runs in every fork.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import time

try:
    import _signal as signal  # type: ignore[import-not-found]
except ImportError:  # another Python than CPython
    import signal
try:
    import _socket as socket
except ImportError:
    import socket  # type: ignore[no-redef]

from flyte_images_runtime.portable import fast_json, framing
from flyte_images_runtime.worker import cgroup_files, dumpable, paths, process_exit, task, tidy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_RECEIVING, _RECEIVED = b"t", b"h"  # states of a fork: a call begins to arrive; the whole call has arrived
_REHEARSALS = 40  # calls after which Python 3.11 and later have specialized the code
_NO_CALL = 114  # exit status of a fork that gets no call, since the caller has gone


def main(call: dict[str, Any]) -> int:
    """Perform the calls that arrive, until the caller closes the connection. Return the exit status."""
    from flyte_images_runtime import values  # noqa: F401 every call needs this package

    dumpable.set_dumpable(True)  # until the first call, since the import of the user's module may need the flag
    try:
        function, signature = task.find(call)
    except BaseException as error:
        process_exit.flush()
        task.leave(paths.RESULT, fast_json.dumps({"error": task.describe(error, call)}))
        return 1
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.connect(paths.IN + "/" + paths.WORK)
    process_exit.flush()
    if not _take_streams(link):
        return 0
    _rehearse(call)
    gc.collect()
    gc.freeze()  # the present objects are shared with all forks, and the collector does not touch them again
    accounts = _Accounts()
    if not call.get("fork", True):
        return _perform_here(call, function, signature, link, accounts)
    report, initial = _Report(), tidy.Tidy()
    hidden = dumpable.set_dumpable(False)
    while True:
        child = os.fork()
        if child == 0:
            _become_the_call(call, function, signature, link, report)
        _, status, usage = os.wait4(child, 0)
        _kill_all()
        state, outcome = report.read()
        if state == _RECEIVED:
            _answer(link, outcome, accounts, status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
            link.sendall(framing.CLEAN if initial.clean() and hidden else framing.UNCLEAN)
        elif state == _RECEIVING:  # the fork died while its call arrived: the next bytes are not a call's beginning
            return 1
        elif status == _NO_CALL << 8:
            return 0


def _take_streams(link: Any) -> bool:
    """Receive one byte with two descriptors: stdout and stderr from now on. Return False if the caller has gone."""
    size = 4  # bytes of a descriptor: an int of C
    arrived, ancillary, _, _ = link.recvmsg(1, socket.CMSG_SPACE(2 * size))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            for number in range(len(data) // size):
                stream = int.from_bytes(data[number * size : (number + 1) * size], sys.byteorder)
                os.dup2(stream, number + 1)
                os.close(stream)
    return bool(arrived)


def _become_the_call(call: dict[str, Any], function: Any, signature: Any, link: Any, report: _Report) -> None:
    """In the fork: wait for the call, perform it, write the report, exit."""
    try:
        request = _receive_call(link, report)
        link.close()
        dumpable.set_dumpable(True)
        os.set_blocking(1, True)  # an earlier call may have made the common pipes non-blocking
        os.set_blocking(2, True)
    except BaseException:
        request = None
    if request is None:
        os._exit(_NO_CALL)
    try:
        failed, outcome = _outcome(call, request, function, signature)
        report.write(outcome)
        process_exit.end(int(failed))
    finally:
        os._exit(1)


def _receive_call(link: Any, report: _Report) -> Any:
    """Wait for a call; return None when the caller has gone."""
    if not link.recv(1, socket.MSG_PEEK):
        return None
    report.note(_RECEIVING)
    request = framing.receive(link)
    report.note(_RECEIVED)
    return request


def _perform_here(call: dict[str, Any], function: Any, signature: Any, link: Any, accounts: _Accounts) -> int:
    """Perform the calls in this process."""
    spent = _cpu()
    while True:
        request = framing.receive(link)
        if request is None:
            return 0
        failed, outcome = _outcome(call, request, function, signature)
        before, spent = spent, _cpu()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _answer(link, outcome.encode(), accounts, int(failed) << 8, spent - before, peak)


def _rehearse(call: dict[str, Any]) -> None:
    """Perform empty calls in this process, so that Python specializes the code before the forks.

    Otherwise each fork would specialize the code again, on pages that it would have to copy first.
    """
    from flyte_images_runtime.values import Signature

    def nothing(value: int) -> int:
        return value

    signature, report, accounts = Signature(nothing), _Report(), _Accounts()
    ours, theirs = socket.socketpair()
    for _ in range(_REHEARSALS):
        framing.send(ours, {"arguments": {"value": 1}, "number": "c0"})
        _, outcome = _outcome(call, _receive_call(theirs, report), nothing, signature)
        report.write(outcome)
        process_exit.writes_to_files()
        report.read()
        _answer(theirs, b"", accounts, 0, 0.0, 0)
        ours.recv(1 << 16)
    report.close()
    accounts.close()
    ours.close()
    theirs.close()


def _cpu() -> float:
    """Return the CPU time of this process and its children, in seconds."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _outcome(call: dict[str, Any], request: dict[str, Any], function: Any, signature: Any) -> tuple[bool, str]:
    """Perform a call; return whether it failed, and the JSON document about it."""
    began = time.time()
    try:
        text = task.perform({**call, **request}, function, signature, "/" + request["number"])
        failed, field = False, '"result": ' + text
        if len(field) > framing.LARGEST - 1000:
            raise task.too_long()
    except BaseException as error:
        failed, field = True, '"error": ' + fast_json.dumps(task.describe(error, call))
    process_exit.flush()
    return failed, '{%s, "began": %r, "ended": %r}' % (field, began, time.time())


def _answer(link: Any, outcome: bytes, accounts: _Accounts, status: int, cpu: float, peak: int) -> None:
    end = {"status": status, "cpu": cpu, "peak": peak * 1024, "cgroup": accounts.read()}
    text = fast_json.dumps(end).encode()
    link.sendall(framing.head(outcome) + outcome + framing.head(text) + text)


class _Report:
    """A file in memory in which a fork leaves its state and the outcome of its call.

    It is read when the fork and all processes that the fork has started are gone.
    """

    def __init__(self) -> None:
        try:
            self._file = os.memfd_create("outcome")
        except (AttributeError, OSError):  # musl's Python, gVisor
            import tempfile

            self._file = os.dup(tempfile.TemporaryFile().fileno())

    def note(self, state: bytes) -> None:
        """Write the state of the fork: one byte."""
        os.pwrite(self._file, state, 0)

    def write(self, outcome: str) -> None:
        """Write the outcome behind the state."""
        text, at = memoryview(outcome.encode()), 1
        while at - 1 < len(text):
            at += os.pwrite(self._file, text[at - 1 :], at)

    def read(self) -> tuple[bytes, bytes]:
        """Return the state and the outcome, and empty the report."""
        text = os.pread(self._file, os.fstat(self._file).st_size, 0)
        os.ftruncate(self._file, 0)
        return text[:1], text[1:]

    def close(self) -> None:
        os.close(self._file)


class _Accounts:
    """The cgroup's files, which are opened once."""

    def __init__(self) -> None:
        paths_by_name = cgroup_files.end_paths().items()
        self._files = {name: os.open(path, os.O_RDONLY | os.O_CLOEXEC) for name, path in paths_by_name}

    def read(self) -> dict[str, str]:
        contents = {}
        for name, file in self._files.items():
            try:
                contents[name] = os.pread(file, 65536, 0).decode(errors="replace")
            except OSError:
                pass
        return contents

    def close(self) -> None:
        for file in self._files.values():
            os.close(file)


def _kill_all() -> None:
    """Kill all processes of a call; wait until the container's first process has reaped them."""
    try:
        for _ in range(2000):
            os.kill(-1, signal.SIGKILL)  # all processes but this one and the container's first
            time.sleep(0.0005)
    except OSError:
        pass  # no other process is left
