"""A warm container: the module is imported once, then each call is a fork of this process, one at a time.

The caller sends a call and the two ends of pipes that are to be its stdout and stderr; it gets back what the function
returned and how the fork ended. Between two calls nothing stays: no process, and nothing in /tmp, /dev/shm and home.
"""

from __future__ import annotations

import array
import atexit
import gc
import os
import signal
import socket
import threading
import time
from typing import Any

from flyte_images_runtime import compact_json, frames
from flyte_images_runtime.worker import places, start, task


def main(call: dict[str, Any]) -> int:
    try:
        function, signature = task.find(call)
    except BaseException as error:
        task.flush()
        task.leave(places.RESULT, compact_json.dumps({"error": task.describe(error, call)}))
        return 1
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.connect(places.IN + "/" + places.WORK)
    gc.collect()
    gc.freeze()  # what is here now is shared by all forks, and stays so
    task.flush()
    while True:
        streams = _take_streams(link)
        if streams is None:
            return 0
        asked = frames.receive(link)
        if asked is None:
            return 0
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            link.close()
            os.close(reader)
            _be_the_call({**call, **asked}, function, signature, streams, writer)
        os.close(writer)
        for stream in streams:
            os.close(stream)
        outcome = _read_all(reader)
        _, status, usage = os.wait4(child, 0)
        _clear_away()
        link.sendall(len(outcome).to_bytes(4, "big") + outcome)
        frames.send(
            link,
            {
                "status": status,
                "cpu": usage.ru_utime + usage.ru_stime,
                "peak": usage.ru_maxrss * 1024,
                "cgroup": start.cgroup_files(),
            },
        )


def _take_streams(link: Any) -> list[int] | None:
    """One byte, and two descriptors with it."""
    size = array.array("i").itemsize * 2
    arrived, ancillary, _, _ = link.recvmsg(1, socket.CMSG_SPACE(size))
    if not arrived:
        return None
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def _be_the_call(call: dict[str, Any], function: Any, signature: Any, streams: list[int], writer: int) -> None:
    """In the fork: perform the call, write what came of it, end."""
    for number, stream in enumerate(streams, 1):
        os.dup2(stream, number)
        os.close(stream)
    number = call["number"]
    began = time.time()
    try:
        failed, outcome = False, '"result": ' + task.perform(call, function, signature, "/" + number)
    except BaseException as error:
        failed, outcome = True, '"error": ' + compact_json.dumps(task.describe(error, call))
    task.flush()
    with os.fdopen(writer, "wb") as file:
        file.write(('{%s, "began": %r, "ended": %r}' % (outcome, began, time.time())).encode())
    _end(int(failed))


def _end(status: int) -> None:
    """End the fork as a program ends, threads first, then exit handlers; but leave the modules to the kernel."""
    threading._shutdown()  # type: ignore[attr-defined] # as multiprocessing does in its forks
    atexit._run_exitfuncs()
    task.flush()
    os._exit(status)


def _read_all(reader: int) -> bytes:
    with os.fdopen(reader, "rb") as file:
        return file.read(frames.LARGEST)


def _clear_away() -> None:
    """Nothing of a call stays for the next one."""
    try:
        os.kill(-1, signal.SIGKILL)  # all but this process and the container's first
    except OSError:
        pass  # there is nobody else
    for directory in ("/tmp", "/dev/shm"):
        try:
            with os.scandir(directory) as entries:
                found = list(entries)
        except OSError:
            continue
        for entry in found:
            _remove(entry)
    home = os.environ.get("HOME")
    if home == places.HOME:
        os.makedirs(home, mode=0o700, exist_ok=True)


def _remove(entry: Any) -> None:
    import shutil

    try:
        if entry.is_dir(follow_symlinks=False):
            if entry.path != places.HOME or os.listdir(entry.path):
                shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)
    except OSError:
        pass  # it cannot be removed, so it is not ours
