"""What the trials of results run in containers: tasks that write their result themselves, and honest ones."""

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
    """Leave a result and go: the worker writes none of its own."""
    (OUT / "result.json").write_text(f'{{"result": {result}}}')
    os._exit(0)


@env.task
def flood(mebibytes: int, warm: bool = False) -> Any:
    """Return small lists without end, as JSON."""
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
    """Leave an archive that leads out of its directory, or says that it holds what it does not."""
    with tarfile.open(OUT / "1.tar", "w") as made:
        if kind == "link":
            made.addfile(linked("shadow", "/".join(f"k{n}/.." for n in range(12)) + "/etc/shadow"))
            for number in range(12):
                made.addfile(linked(f"k{number}", "."))
        else:
            member = tarfile.TarInfo("big")
            member.size = 2 << 30
            made.fileobj.write(member.tobuf())  # type: ignore[union-attr]
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
    """Return a file of nothing as bytes."""
    with (OUT / "1.bin").open("wb") as file:
        file.truncate(size)
    leave('{"file": "1.bin"}')
    return b""


@env.task
def honest(given: flyte.Dir) -> dict[str, Any]:
    """Return what is hard to bring home, and how what came is linked."""
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
