"""A warm container: the module is imported once, then each call is a fork of this process, one at a time.

The caller sends once the two ends of pipes that are stdout and stderr of all calls, then one call after the other; for
each it gets back what the function returned and how the fork ended. The fork is made before its call comes, and waits
for it. Between two calls nothing stays: no process, nothing in /tmp, /dev/shm, home and the message queues; what cannot
be removed is told after the answer: the caller throws the container away. A call cannot write this process's memory.

Where the caller wants no fork, calls are performed in this process: what one leaves there, the next one finds.

Most of what a fork takes are the pages that it and this process write to, so as little as possible is loaded here, and
above all not `threading`, whose hook runs in every fork.
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

_TAKES, _HAS = b"t", b"h"  # a fork notes that a call comes, and that it has all of it
_REHEARSALS = 40  # after which Python 3.11 and later have seen enough
_NOT_ASKED = 114  # exit status of a fork that is not needed: the caller has gone


def main(call: dict[str, Any]) -> int:
    from flyte_images_runtime import values  # noqa: F401 what every call needs

    dumpable.set_dumpable(True)  # until the first call: what the module does when it is imported may need it
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
    gc.freeze()  # what is here now is shared by all forks, and stays so
    accounts = _Accounts()
    if not call.get("fork", True):
        return _perform_here(call, function, signature, link, accounts)
    sheet, after = _Sheet(), tidy.Tidy()
    hidden = dumpable.set_dumpable(False)
    while True:
        child = os.fork()
        if child == 0:
            _be_the_call(call, function, signature, link, sheet)
        _, status, usage = os.wait4(child, 0)
        _end_all()
        state, outcome = sheet.read()
        if state == _HAS:
            _answer(link, outcome, accounts, status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
            link.sendall(framing.CLEAN if after.clean() and hidden else framing.UNCLEAN)
        elif state == _TAKES:  # it died while a call came: the rest of it is still to come, and belongs to nobody
            return 1
        elif status == _NOT_ASKED << 8:
            return 0


def _take_streams(link: Any) -> bool:
    """One byte, and two descriptors with it: stdout and stderr from now on."""
    size = 4  # bytes of a descriptor, which is an int of C's
    arrived, ancillary, _, _ = link.recvmsg(1, socket.CMSG_SPACE(2 * size))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            for number in range(len(data) // size):
                stream = int.from_bytes(data[number * size : (number + 1) * size], sys.byteorder)
                os.dup2(stream, number + 1)
                os.close(stream)
    return bool(arrived)


def _be_the_call(call: dict[str, Any], function: Any, signature: Any, link: Any, sheet: _Sheet) -> None:
    """In the fork: wait for the call, perform it, write what came of it, end."""
    try:
        asked = _wait_for_it(link, sheet)
        link.close()
        dumpable.set_dumpable(True)
        os.set_blocking(1, True)  # the pipes are those of the calls before
        os.set_blocking(2, True)
    except BaseException:
        asked = None
    if asked is None:
        os._exit(_NOT_ASKED)
    try:
        failed, outcome = _outcome(call, asked, function, signature)
        sheet.write(outcome)
        process_exit.end(int(failed))
    finally:
        os._exit(1)


def _wait_for_it(link: Any, sheet: _Sheet) -> Any:
    if not link.recv(1, socket.MSG_PEEK):
        return None
    sheet.note(_TAKES)
    asked = framing.receive(link)
    sheet.note(_HAS)
    return asked


def _perform_here(call: dict[str, Any], function: Any, signature: Any, link: Any, accounts: _Accounts) -> int:
    """Perform the calls in this process."""
    spent = _cpu()
    while True:
        asked = framing.receive(link)
        if asked is None:
            return 0
        failed, outcome = _outcome(call, asked, function, signature)
        before, spent = spent, _cpu()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _answer(link, outcome.encode(), accounts, int(failed) << 8, spent - before, peak)


def _rehearse(call: dict[str, Any]) -> None:
    """Perform calls of nothing here: what Python notes about code that runs often is then noted before the forks.

    Each would note it anew, on pages that it had to copy first.
    """
    from flyte_images_runtime.values import Signature

    def nothing(value: int) -> int:
        return value

    signature, sheet, accounts = Signature(nothing), _Sheet(), _Accounts()
    ours, theirs = socket.socketpair()
    for _ in range(_REHEARSALS):
        framing.send(ours, {"arguments": {"value": 1}, "number": "c0"})
        _, outcome = _outcome(call, _wait_for_it(theirs, sheet), nothing, signature)
        sheet.write(outcome)
        process_exit.writes_to_files()
        sheet.read()
        _answer(theirs, b"", accounts, 0, 0.0, 0)
        ours.recv(1 << 16)
    sheet.close()
    accounts.close()
    ours.close()
    theirs.close()


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _outcome(call: dict[str, Any], asked: dict[str, Any], function: Any, signature: Any) -> tuple[bool, str]:
    """Whether it failed, and what is to be told of it."""
    began = time.time()
    try:
        failed, said = False, '"result": ' + task.perform({**call, **asked}, function, signature, "/" + asked["number"])
        if len(said) > framing.LARGEST - 1000:
            raise task.too_long()
    except BaseException as error:
        failed, said = True, '"error": ' + fast_json.dumps(task.describe(error, call))
    process_exit.flush()
    return failed, '{%s, "began": %r, "ended": %r}' % (said, began, time.time())


def _answer(link: Any, outcome: bytes, accounts: _Accounts, status: int, cpu: float, peak: int) -> None:
    end = {"status": status, "cpu": cpu, "peak": peak * 1024, "cgroup": accounts.read()}
    text = fast_json.dumps(end).encode()
    link.sendall(framing.head(outcome) + outcome + framing.head(text) + text)


class _Sheet:
    """Where a fork writes what came of its call: read when it and all that it has started are gone."""

    def __init__(self) -> None:
        try:
            self._file = os.memfd_create("outcome")
        except (AttributeError, OSError):  # musl's Python, gVisor
            import tempfile

            self._file = os.dup(tempfile.TemporaryFile().fileno())

    def note(self, state: bytes) -> None:
        os.pwrite(self._file, state, 0)

    def write(self, outcome: str) -> None:
        text, at = memoryview(outcome.encode()), 1
        while at - 1 < len(text):
            at += os.pwrite(self._file, text[at - 1 :], at)

    def read(self) -> tuple[bytes, bytes]:
        """The state and the outcome; then it is empty again."""
        text = os.pread(self._file, os.fstat(self._file).st_size, 0)
        os.ftruncate(self._file, 0)
        return text[:1], text[1:]

    def close(self) -> None:
        os.close(self._file)


class _Accounts:
    """The cgroup's files, opened once."""

    def __init__(self) -> None:
        found = cgroup_files.end_paths().items()
        self._files = {file: os.open(path, os.O_RDONLY | os.O_CLOEXEC) for file, path in found}

    def read(self) -> dict[str, str]:
        found = {}
        for name, file in self._files.items():
            try:
                found[name] = os.pread(file, 65536, 0).decode(errors="replace")
            except OSError:
                pass
        return found

    def close(self) -> None:
        for file in self._files.values():
            os.close(file)


def _end_all() -> None:
    """No process of a call stays for the next one; wait until the container's first process has seen their ends."""
    try:
        for _ in range(2000):
            os.kill(-1, signal.SIGKILL)  # all but this process and the container's first
            time.sleep(0.0005)
    except OSError:
        pass  # there is no other process
