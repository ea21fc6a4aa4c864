"""Tasks for the tests, which call them in containers."""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import datetime
import enum
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import flyte_images as flyte

env = flyte.TaskEnvironment(name="tests", limits=flyte.Resources(cpu="1", memory="256Mi"), network="none")


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Row:
    name: str
    when: datetime.datetime
    colour: Colour
    parent: Row | None = None


class OwnError(Exception):
    pass


@env.task
def mirror(
    number: int,
    text: str = "a",
    *,
    rows: list[Row],
    path: pathlib.Path,
    blob: bytes,
    either: int | str | None,
) -> tuple[int, str, list[Row], pathlib.Path, bytes, int | str | None]:
    return number, text, rows, path, blob, either


@env.task
async def slow(seconds: float, value: int = 0) -> int:
    await asyncio.sleep(seconds)
    return value


@env.task
def chatter(lines: int) -> None:
    for number in range(lines):
        print("out", number)
        print("err", number, file=sys.stderr)
    subprocess.run(["sh", "-c", "printf unfinished"], check=True)


@env.task
def hog(mebibytes: int) -> int:
    held = []
    for _ in range(mebibytes):
        held.append(bytearray(b"x" * (1 << 20)))
    return len(held)


@env.task
def hog_in_child(mebibytes: int) -> int:
    code = f"x = bytearray(b'x' * ({mebibytes} << 20))"
    return subprocess.run([sys.executable, "-c", code]).returncode


@env.task
def burn(seconds: float, threads: int) -> float:
    """Keep `threads` processes busy. Return their CPU time per second."""
    code = f"import time; t = time.monotonic()\nwhile time.monotonic() - t < {seconds}: pass"
    began = time.monotonic()
    busy = [subprocess.Popen([sys.executable, "-S", "-c", code]) for _ in range(threads)]
    for each in busy:
        each.wait()
    used = os.times()
    return (used.children_user + used.children_system) / (time.monotonic() - began)


@env.task
def fail(kind: str) -> None:
    def deeper() -> None:
        if kind == "own":
            raise OwnError("no rows in a.csv")
        if kind == "os":
            pathlib.Path("/nowhere").stat()
        raise ValueError("no rows")

    deeper()


@env.task
def end(how: str) -> int:
    if how == "exit":
        sys.exit(3)
    if how == "cancelled":
        raise asyncio.CancelledError("by itself")  # not an Exception
    if how == "hard":
        os._exit(0)
    if how == "hard137":
        os._exit(137)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), 9)
    if how == "result":
        return "text"  # type: ignore[return-value]
    return 0


@env.task
def unserialisable() -> dict[str, Any]:
    return {"lock": [threading.Lock()]}


@env.task
def read_environment(names: list[str]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


@env.task
def rights() -> dict[str, Any]:
    def can(action: Any, *args: Any) -> str:
        try:
            action(*args)
        except OSError as error:
            return type(error).__name__ + str(error.errno)
        return "yes"

    status = dict(line.split(":\t", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    link = socket.socket(socket.AF_UNIX)
    return {
        "uid": os.getuid(),
        "capabilities": status["CapEff"],
        "bounding": status["CapBnd"],
        "no_new_privs": status["NoNewPrivs"],
        "seccomp": status["Seccomp"],
        "root": can(pathlib.Path("/usr/evil").write_text, "x"),
        "code": can(pathlib.Path(__file__).write_text, "x"),
        "inputs": can(pathlib.Path("/run/flyte-images/in/evil").write_text, "x"),
        "worker": can(pathlib.Path("/run/flyte-images/lib/flyte_images_runtime/evil").write_text, "x"),
        "tmp": can(pathlib.Path("/tmp/fine").write_text, "x"),
        "home": can(pathlib.Path("~/fine").expanduser().write_text, "x"),
        "engine": can(link.connect, "/var/run/docker.sock"),
        "setuid": can(os.setuid, 0),
        "mount": ctypes.CDLL(None).mount(b"x", b"/mnt", b"tmpfs", 0, None),
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "processes": sorted(int(each.name) for each in pathlib.Path("/proc").iterdir() if each.name.isdigit()),
    }


@env.task
def fork_bomb() -> int:
    made = 0
    try:
        for _ in range(10_000):
            threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
            made += 1
    except RuntimeError:
        pass
    return made


@env.task
def fill(path: str, mebibytes: int) -> None:
    with open(path, "wb") as file:
        for _ in range(mebibytes):
            file.write(b"x" * (1 << 20))


@env.task
def say_and_sleep(seconds: float) -> float:
    print("here", flush=True)
    time.sleep(seconds)
    return seconds


@env.task
def replace_result(target: str) -> int:
    """Do what a hostile task would: make the caller read one of its own files as the result."""
    pathlib.Path("/run/flyte-images/out/result.json").symlink_to(target)
    os._exit(0)


@env.task
def leave_children() -> int:
    """Leave a grandchild that ignores SIGTERM."""
    code = "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\ntime.sleep(600)"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    return 1


@env.task
def read_file(file: flyte.File) -> tuple[str, str]:
    return file.name, file.read_text()


@env.task
def write_file(text: str) -> flyte.File:
    path = pathlib.Path("/tmp/made.txt")
    path.write_text(text)
    return flyte.File(path)


@env.task
def echo(n: int) -> int:
    return n


@env.task
def noisy_blob(blob: bytes, size: int) -> bytes:
    return blob + os.urandom(size)


@env.task
def long_blob(size: int) -> bytes:
    return b"x" * size


@env.task
def where_it_is(size: int, limit: str) -> list[str]:
    """Return the directory to which a result of that size is written."""
    from flyte_images_runtime.values import Files
    from flyte_images_runtime.worker import paths
    from flyte_images_runtime.worker.task import room

    held = b"x" * size
    memory = int(limit.removesuffix("Mi")) << 20
    files = Files(paths.OUT, paths.FAST, room=lambda: room({"memory": memory}))
    name, file = files.new("bin", len(held))
    file.close()
    return [place.name for place in map(pathlib.Path, (paths.OUT, paths.FAST)) if (place / name).exists()]


@env.task
def meet(own: str, others: list[str]) -> str:
    """Write a file to the directory /meeting, and end when the files of all others are there."""
    place = pathlib.Path("/meeting")
    (place / own).touch()
    while not all((place / other).exists() for other in others):
        time.sleep(0.02)
    return own


@env.task
def talk_and_sleep() -> None:
    print("asleep")
    time.sleep(600)
