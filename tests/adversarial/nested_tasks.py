"""Tasks that ask the caller for more than they may have."""

from __future__ import annotations

import asyncio
import os
import pathlib
import socket
import sys
import time
import zipfile
from typing import Any

import flyte_images as flyte

low = flyte.TaskEnvironment(name="low", limits=flyte.Resources(cpu="1", memory="128Mi"), network="none")
vault = flyte.TaskEnvironment(
    name="vault",
    limits=flyte.Resources(cpu="1", memory="128Mi"),
    network="none",
    secrets="db-pass",
    env_vars={"MODE": "defined", "PYTHONHASHSEED": "7"},
)
free = flyte.TaskEnvironment(name="free", network="none")
heavy = flyte.TaskEnvironment(name="heavy", limits=flyte.Resources(memory="256Mi"), network="none")
apart = low.clone_with("apart", nested="own")

DOOR = "/run/flyte-images/in/host.sock"
PATH = "/run/flyte-images/in/1.file"


@vault.task
def peek(file: flyte.File) -> dict[str, Any]:
    names = ("MODE", "PYTHONHASHSEED", "PYTHONPATH")
    return {name: os.environ.get(name) for name in names} | {
        "code": "sitecustomize" in sys.modules and PATH in str(sys.modules["sitecustomize"].__file__),
        "path": PATH in sys.path,
        "user site": not sys.flags.no_user_site,
    }


def code() -> flyte.File:
    place = pathlib.Path("/tmp/code.zip")
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("sitecustomize.py", "print('code of another container')")
    return flyte.File(place)


@low.task
def steal() -> list[Any]:
    """Call with variables that make the other container run code from here; as a program does, and by hand."""
    from flyte_images_runtime.worker import nested_client  # type: ignore[import-not-found,unused-ignore]

    found: list[Any] = []
    variables = {"PYTHONPATH": PATH, "MODE": "mine"}
    try:
        found.append(peek.override(env_vars=variables)(code()))
    except ValueError as error:
        found.append(str(error))
    nested_client.SETTINGS += ("env_vars",)
    try:
        found.append(peek.override(env_vars=variables)(code()))
    except Exception as error:
        found.append(str(error))
    return [*found, peek(code())]


def fill(mebibytes: int) -> int:
    held = [bytearray(b"x" * (1 << 20)) for _ in range(mebibytes)]
    time.sleep(0.5)
    return len(held)


@low.task
def hold(mebibytes: int) -> int:
    return fill(mebibytes)


@free.task
def hold_freely(mebibytes: int) -> int:
    return fill(mebibytes)


@heavy.task
def hold_much(mebibytes: int) -> int:
    return fill(mebibytes)


@apart.task
def hold_apart(mebibytes: int) -> int:
    return fill(mebibytes)


@vault.task
def size(file: flyte.File) -> int:
    return len(file.read_bytes())


@low.task
def lifts() -> list[str]:
    """Raise limits of what is called, each in another way."""
    said = []
    for task, settings in (
        (hold, {"limits": flyte.Resources(memory="2Gi")}),
        (hold, {"limits": flyte.Resources(cpu="2")}),
        (hold.override(timeout=5), {"timeout": None, "nested": "own"}),
        (hold, {"limits": flyte.Resources(gpu="1")}),
    ):
        try:
            said.append(str(task.override(**settings)(1)))
        except Exception as error:
            said.append(str(error).split(" (hint")[0])
    return said


@low.task
async def ends(name: str, mebibytes: int, count: int) -> list[Any]:
    """What became of so many calls at once, each of which holds that much."""
    task = {"hold": hold, "free": hold_freely, "heavy": hold_much, "apart": hold_apart}[name]
    calls = [flyte.run.aio(task.override(retries=0), mebibytes) for _ in range(count)]
    done = await asyncio.gather(*calls, return_exceptions=True)
    return [each.result if hasattr(each, "result") else type(each).__name__ for each in done]


@free.task
def nap(seconds: float) -> list[float]:
    began = time.monotonic()
    time.sleep(seconds)
    return [began, time.monotonic()]


@low.task
async def storm(count: int) -> int:
    """How many of so many calls at once were at work together."""
    spans = [run.result for run in await asyncio.gather(*(flyte.run.aio(nap, 0.4) for _ in range(count)))]
    return max(sum(began <= moment < ended for began, ended in spans) for moment, _ in spans)


@low.task
def send(length: int) -> int:
    place = pathlib.Path("/tmp/sent")
    place.write_bytes(b"x" * length)
    return size(flyte.File(place))


@low.task
def flood(connections: int, mebibytes: int) -> dict[str, Any]:
    """Open connections that say nothing, and announce documents that are too long."""
    from flyte_images_runtime.portable import framing

    refused = []
    for _ in range(8):
        link = socket.socket(socket.AF_UNIX)
        link.connect(DOOR)
        link.sendall((mebibytes << 20).to_bytes(4, "big"))
        refused.append(framing.receive(link)["error"]["message"])
        link.close()
    links = []
    for _ in range(connections):
        link = socket.socket(socket.AF_UNIX)
        link.setblocking(False)
        try:
            link.connect(DOOR)
        except BlockingIOError:
            break
        link.send(b"\0")
        links.append(link)
    time.sleep(1)
    return {"refused": refused, "open": len(links)}


@low.task
def bomb(length: int) -> str:
    """A short text of JSON that is many values."""
    from flyte_images_runtime.portable import framing

    text = b'{"number": "n1", "arguments": [' + b"[]," * length + b"[]]}"
    link = socket.socket(socket.AF_UNIX)
    link.connect(DOOR)
    link.sendall(framing.head(text) + text)
    return str(framing.receive(link)["error"]["message"])
