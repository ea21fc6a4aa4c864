"""Tasks that try to leave something for the next call."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

import flyte_images as flyte

env = flyte.TaskEnvironment(
    name="warm", limits=flyte.Resources(cpu="1", memory="256Mi"), network="none", reusable=flyte.ReusePolicy()
)
IMPORTED = time.time_ns()
SEEN: list[str] = []
if "SAY" in os.environ:
    print(os.environ["SAY"])


@env.task
def leave(name: str) -> dict[str, Any]:
    """Report what earlier calls have left; then leave files, variables and a process."""
    directories = [pathlib.Path(name) for name in ("/tmp", "/tmp/home", "/dev/shm")]
    seen = [str(path) for directory in directories for path in directory.iterdir() if path.name != "home"] + SEEN
    others = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a process that has just ended
            if entry.name.isdigit() and b"sleep(600)" in (entry / "cmdline").read_bytes():
                others.append(entry.name)
    SEEN.append(name)
    os.environ["LEFT"] = name
    for directory in directories:
        (directory / name).write_text(name)
    (pathlib.Path("/tmp") / f"{name}.d" / "deep").mkdir(parents=True)
    code = "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\ntime.sleep(600)"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    return {"imported": IMPORTED, "pid": os.getpid(), "seen": seen, "others": others}


@env.task
def turned(blob: bytes) -> bytes:
    return blob[::-1]


@env.task
def remember(name: str) -> list[str]:
    """Return the names of all calls in this process: without a fork, calls share it."""
    SEEN.append(name)
    print("call", name, flush=True)
    if name == "bad":
        raise ValueError("no name")
    if name == "exit":
        sys.exit(3)
    if name == "gone":
        os._exit(4)
    return [*SEEN, str(os.getpid())]


@env.task
def parting(name: str) -> str:
    """Print in a thread that runs on after the return, and in a handler at the exit."""
    import atexit
    import threading

    def late() -> None:
        time.sleep(0.05)
        print("thread", name)

    atexit.register(print, "handler", name)
    sys.stdout.write(f"unfinished {name}")
    threading.Thread(target=late).start()
    return name
