"""Tasks for the trials of results: hostile ones, which write their results themselves, and honest ones."""

from __future__ import annotations

import json
import os
import pathlib
import tarfile
from typing import Any

import flyte_images as flyte

env = flyte.TaskEnvironment(name="results", limits=flyte.Resources(cpu="1", memory="256Mi"), network="none")
OUT = pathlib.Path("/run/flyte-images/out")


def leave(result: str) -> None:
    """Leave a result and exit, before the worker writes one."""
    (OUT / "result.json").write_text(f'{{"result": {result}}}')
    os._exit(0)


@env.task
def flood(mebibytes: int, warm: bool = False) -> Any:
    """Return very many small lists, as JSON."""
    text = "[" + "[]," * (mebibytes << 20) + "[]]"
    if warm:
        from flyte_images_runtime.worker import task

        task.fast_json.dumps = lambda value: text  # type: ignore[attr-defined]
        return 1
    leave(text)
    return None


@env.task
def fraction() -> Any:
    leave(json.dumps({"a": {"$type": "Fraction", "is": "1e1000000000"}}))


@env.task
def archive(kind: str) -> flyte.Dir:
    """Leave an archive with a link that leads out, or with a file that is larger than its content."""
    with tarfile.open(OUT / "1.tar", "w") as tar:
        if kind == "link":
            tar.addfile(linked("shadow", "/".join(f"k{n}/.." for n in range(12)) + "/etc/shadow"))
            for number in range(12):
                tar.addfile(linked(f"k{number}", "."))
        else:
            member = tarfile.TarInfo("big")
            member.size = 2 << 30
            tar.fileobj.write(member.tobuf())  # type: ignore[union-attr]
    leave('{"file": "1.tar", "name": "d"}')
    return flyte.Dir("/")


def linked(name: str, to: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, to
    return member


@env.task
def sparse(size: int) -> flyte.File:
    with open("/tmp/sparse", "wb") as file:
        file.truncate(size)
    return flyte.File("/tmp/sparse")


@env.task
def holes(size: int) -> bytes:
    """Leave a sparse file as bytes."""
    with (OUT / "1.bin").open("wb") as file:
        file.truncate(size)
    leave('{"file": "1.bin"}')
    return b""


@env.task
def honest(given: flyte.Dir) -> dict[str, Any]:
    """Return values that are hard to encode, and the link counts of the argument's entries."""
    links = {path.name: path.stat().st_nlink for path in pathlib.Path(given).iterdir()}
    return {"links": links, "numbers": [float("nan"), float("-inf"), 10**5000], "text": "a\ud800"}


@env.task
def directory(pipe: bool) -> flyte.Dir:
    place = pathlib.Path("/tmp/made")
    (place / "sub").mkdir(parents=True)
    (place / "a").write_text("content")
    os.link(place / "a", place / "b")
    os.link(place / "a", place / "sub" / "c")
    if pipe:
        os.mkfifo(place / "sub" / "pipe")
    return flyte.Dir(place)
