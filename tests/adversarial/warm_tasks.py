"""Calls of a warm container that leave something for the next one, or change the process that serves them."""

from __future__ import annotations

import ctypes
import os
import pathlib
import resource
import time
from typing import Any

import flyte_images as flyte

env = flyte.TaskEnvironment(
    name="warm", limits=flyte.Resources(cpu="1", memory="128Mi"), network="none", reusable=flyte.ReusePolicy()
)
IMPORTED = time.time_ns()
MARK = bytearray(b"as the server has it")
_IPC_CREAT, _KEY = 0o1000, 0x464C
_EXCHANGE = ("/run/flyte-images/out", "/run/flyte-images/fast")


def found() -> list[str]:
    """What earlier calls have left."""
    tables = [pathlib.Path(f"/proc/sysvipc/{name}") for name in ("shm", "sem", "msg")]
    seen = [table.name for table in tables if len(table.read_text().splitlines()) > 1]
    for place in ("/dev/mqueue", "/tmp", *_EXCHANGE):
        seen += [str(path) for path in pathlib.Path(place).iterdir() if path.name not in ("home", ".reserve")]
    modes = [f"{place} {pathlib.Path(place).stat().st_mode:o}" for place in (*_EXCHANGE, "/tmp/home")]
    return seen + [mode for mode in modes if not mode.endswith("40700")]


@env.task
def leave(what: str) -> dict[str, Any]:
    """Say what earlier calls have left, then leave `what`."""
    libc = ctypes.CDLL(None, use_errno=True)
    seen = found()
    if what == "ipc":
        assert libc.shmget(_KEY, 4096, _IPC_CREAT | 0o600) >= 0
        assert libc.semget(_KEY, 1, _IPC_CREAT | 0o600) >= 0
        assert libc.msgget(_KEY, _IPC_CREAT | 0o600) >= 0
    elif what == "queue":
        assert libc.mq_open(b"/left", os.O_RDWR | os.O_CREAT, 0o600, None) >= 0
    elif what == "exchange":
        for place in _EXCHANGE:
            pathlib.Path(place, "left").write_text("left")
            pathlib.Path(place, "closed", "deep").mkdir(parents=True)
            pathlib.Path(place, "closed").chmod(0)
    elif what == "closed":
        pathlib.Path("/tmp/closed/deep").mkdir(parents=True)
        pathlib.Path("/tmp/closed/deep").chmod(0)
        pathlib.Path("/tmp/closed").chmod(0)
        pathlib.Path("/tmp/home").chmod(0)
    elif what == "modes":
        for place in _EXCHANGE:
            pathlib.Path(place).chmod(0o777)
    elif what == "limits":
        resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (64, 64))
    return {"seen": seen, "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "container": IMPORTED}


@env.task
def write_the_server() -> list[str]:
    """Write the memory of the server and of the first process; say what was refused."""
    refused = []
    for pid in (os.getppid(), 1):
        for name in ("mem", "fd/3", "environ"):
            try:
                with open(f"/proc/{pid}/{name}", "r+b" if name == "mem" else "rb", buffering=0) as file:
                    if name == "mem":
                        file.seek(ctypes.addressof(ctypes.c_char.from_buffer(MARK)))
                        file.write(b"TAMPERED by a call!!")
            except PermissionError:
                refused.append(f"{'server' if pid > 1 else 'first'} {name}")
    return refused


@env.task
def mark() -> tuple[str, bool]:
    """What the server's memory says, and whether this process can look at itself as any other can."""
    return MARK.decode(), any(pathlib.Path("/proc/self/fd").iterdir()) and os.access("/proc/self/environ", os.R_OK)


@env.task
def nested_file(text: str) -> str:
    return written(text).read_text()


other = flyte.TaskEnvironment(name="other", network="none")


@other.task
def written(text: str) -> flyte.File:
    path = pathlib.Path("/tmp/written")
    path.write_text(text)
    return flyte.File(path)
