"""Tasks that call tasks of other environments."""

from __future__ import annotations

import asyncio
import os
import pathlib
from typing import Any

import flyte_images as flyte

outer = flyte.TaskEnvironment(
    name="outer", limits=flyte.Resources(cpu="1", memory="128Mi"), env_vars={"WHERE": "outer"}, network="none"
)
inner = flyte.TaskEnvironment(
    name="inner", limits=flyte.Resources(cpu="0.5", memory="64Mi"), env_vars={"WHERE": "inner"}, network="none"
)
to = outer.clone_with("to", nested="own")
fro = outer.clone_with("fro", nested="own")


@inner.task
def where(n: int) -> tuple[str | None, int, str]:
    return os.environ.get("WHERE"), n + 1, os.environ["OMP_NUM_THREADS"]


@inner.task
async def waiting(n: int) -> int:
    await asyncio.sleep(0.5)
    return n * n


@inner.task
def write(text: str) -> flyte.File:
    path = pathlib.Path("/tmp/written")
    path.write_text(text)
    return flyte.File(path)


@outer.task
def length_of_a_file(text: str) -> int:
    return len(write(text).read_text())


@inner.task
def fails(kind: str) -> None:
    if kind == "hog":
        held = [bytearray(b"x" * (1 << 20)) for _ in range(500)]
        print(len(held))
    raise (ValueError("inside") if kind == "value" else OwnError("inside"))


class OwnError(Exception):
    pass


@outer.task
def beside(n: int) -> str | None:
    return os.environ.get("WHERE")


@outer.task
def calls(n: int) -> list[Any]:
    return [os.environ.get("WHERE"), where(n), beside(1), flyte.run(beside, 1).result]


@outer.task
async def gathers(count: int) -> list[int]:
    return list(await asyncio.gather(*(waiting(n) for n in range(count))))


@outer.task
def maps(count: int) -> list[int]:
    runs = flyte.run.map(waiting, range(count), concurrency=2)
    assert flyte.map(waiting, range(count)) == [run.result for run in runs]
    return [run.result for run in runs]


@outer.task
def catches(kind: str) -> str:
    try:
        fails(kind)
    except ValueError as error:
        return f"value: {error}"
    except flyte.OutOfMemory as error:
        return f"memory: {error}"
    except flyte.TaskError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


@to.task
def ping(n: int) -> int:
    return pong(n + 1)


@fro.task
def pong(n: int) -> int:
    return ping(n + 1)


@outer.task
def overrides(memory: str) -> str | None:
    assert where.override(limits=flyte.Resources(memory=memory), timeout=60, retries=1)(1) == ("inner", 2, "1")
    try:
        where.override(user="0:0", mounts=["/:/host:rw"])(1)
    except ValueError as error:
        return str(error)
    return None


@outer.task
def forges(field: str) -> Any:
    """Send a document that a hostile task could send, and return the error that comes back."""
    import socket

    from flyte_images_runtime.portable import framing  # type: ignore[import-not-found,unused-ignore]

    link = socket.socket(socket.AF_UNIX)
    link.connect("/run/flyte-images/in/host.sock")
    framing.send(
        link,
        {
            "module": "os" if field == "module" else __name__,
            "qualname": "system" if field == "module" else "where",
            "arguments": {"n": "x"} if field == "arguments" else {"n": 1},
            "number": "../../etc" if field == "number" else "n1",
            "settings": {"mounts": ["/:/host:rw"]} if field == "settings" else {},
        },
    )
    return framing.receive(link)["error"]["message"]
