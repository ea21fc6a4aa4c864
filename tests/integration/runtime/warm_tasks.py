"""Tasks that would leave something for the next call, if they could."""

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
    """Look for what earlier calls left, then leave as much as possible."""
    places = [pathlib.Path(place) for place in ("/tmp", "/tmp/home", "/dev/shm")]
    seen = [str(path) for place in places for path in place.iterdir() if path.name != "home"] + SEEN
    others = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a process that has just ended
            if entry.name.isdigit() and b"sleep(600)" in (entry / "cmdline").read_bytes():
                others.append(entry.name)
    SEEN.append(name)
    os.environ["LEFT"] = name
    for place in places:
        (place / name).write_text(name)
    (pathlib.Path("/tmp") / f"{name}.d" / "deep").mkdir(parents=True)
    code = "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\ntime.sleep(600)"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    return {"imported": IMPORTED, "pid": os.getpid(), "seen": seen, "others": others}


@env.task
def turned(blob: bytes) -> bytes:
    return blob[::-1]


@env.task
def kept(name: str) -> list[str]:
    """What calls without a fork find: all that the ones before have left in the process."""
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
