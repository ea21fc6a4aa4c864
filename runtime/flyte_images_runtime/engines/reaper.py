"""Cleaning up after callers: a helper process that acts when its caller ends, and a sweep for what the helper missed.

Everything that a run makes carries its owner's name (system/process_id.py): containers in a label, cgroups and
directories in their names. Things whose owner has certainly ended are removed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..cgroup import group_names, group_of, remove_group
from ..system.process_id import current, parse
from ..task.exchange import left_over, remove_directory

_PATIENCE = 60.0  # seconds that the helper spends on cleaning up after a caller
_PAUSE = 0.5  # seconds between two sweeps
_guard = threading.Lock()
_helpers: dict[tuple[int, str], subprocess.Popen[bytes]] = {}
_lost: set[str] = set()


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing whose owner has ended: its kind and name for people, and a function that removes it."""

    kind: str
    name: str
    remove: Callable[[], object]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def watch_over(address: str, stamp: str = "") -> bool:
    """End this process's containers on the engine at `address` when this process ends, however it ends.

    A helper process sleeps until its pipe from this process closes. There is one for each process and engine; it costs
    about 10 ms of another CPU. If the engine has gone away by then and does not come back, the helper removes the file
    `stamp`, by which others know that nothing needs a sweep. Return False if the helper exists already.
    """
    key = (os.getpid(), address)
    with _guard:
        if key in _helpers:
            return False
        command = (
            f"import sys; sys.path[:0] = [{str(Path(__file__).resolve().parents[2])!r}]; "
            "import os; os.read(0, 1) == b'.' or "
            "__import__('flyte_images_runtime.engines.reaper', fromlist=['after']).after(*sys.argv[1:])"
        )
        helper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", command, address, str(current()), stamp],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C at the terminal reaches only the caller
            cwd="/",
        )
        _helpers[key] = helper
        atexit.register(_dismiss, key)
        if any(map(_is_gone, _names())):  # a quick check, and mostly no owner is gone
            threading.Thread(target=sweep, args=(address,), daemon=True).start()
    return True


def engine_lost(address: str) -> None:
    """Record that the engine went away with containers of this process.

    The helper acts after this process has ended.
    """
    _lost.add(address)


def _dismiss(key: tuple[int, str]) -> None:
    """End the helper with this process. The helper cleans up first if threads of this process leave anything behind."""
    pid, address = key
    if pid != os.getpid():
        return  # a fork of the process that started the helper
    helper = _helpers.pop(key)
    assert helper.stdin is not None
    if address in _lost or any(parse(name) == current() for name in _names()):
        helper.stdin.close()
        helper.returncode = 0  # the helper outlives this process, which does not wait for it
        return
    with contextlib.suppress(OSError):
        os.write(helper.stdin.fileno(), b".")
    helper.communicate()


def _names() -> set[str]:
    """Return the names of all directories and cgroups of tasks."""
    return {*(path.name for path in left_over("")), *group_names("")}


def after(address: str, owner: str, stamp: str = "") -> None:
    """Clean up after `owner` until two sweeps find nothing: an engine may still be making the last container."""
    deadline = time.monotonic() + _PATIENCE
    clean, answered = 0, False
    while clean < 2 and time.monotonic() < deadline:
        count, answered = sweep(address, owner)
        clean = clean + 1 if answered and not count else 0
        time.sleep(_PAUSE)
    if stamp and not answered:
        with contextlib.suppress(OSError):
            Path(stamp).unlink()


def sweep(address: str, owner: str | None = None) -> tuple[int, bool]:
    """Remove everything of `owner`, or of all owners that have ended.

    Return how many things there were, and whether the engine answered.
    """
    from ..errors import EngineLost

    leftovers, answered = leftovers_here(owner), True
    try:
        leftovers = [*leftovers_of(address, owner), *leftovers]
    except EngineLost:
        answered = False
    for leftover in leftovers:
        with contextlib.suppress(EngineLost):
            leftover.remove()
    return len(leftovers), answered


def leftovers_of(address: str, owner: str | None = None) -> list[Leftover]:
    """Return the containers of `owner`, or of all ended owners, on the engine. Raise EngineLost without an answer."""
    from .leftovers import Remaining, containers

    def is_left(container: Remaining) -> bool:
        if owner is not None:
            return str(parse(container.owner)) == owner
        # containers of an earlier boot count only if they no longer run: the socket may lead to another machine's
        # engine
        return _is_gone(container.owner, None if container.runs else container.made)

    return [
        Leftover("container", container.name, container.remove)
        for container in containers(address)
        if is_left(container)
    ]


def leftovers_here(owner: str | None = None) -> list[Leftover]:
    """Return the cgroups and directories of `owner`, or of all owners that have ended."""
    leftovers: list[Leftover] = []
    for name in group_names(""):
        if str(parse(name)) == owner if owner else _is_gone(name):
            leftovers.append(Leftover("cgroup", name, lambda name=name: _end_group(name)))  # type: ignore[misc]
    for path in left_over(""):
        if str(parse(path.name)) == owner if owner else _is_gone(path.name, _made(path)):
            leftovers.append(Leftover("directory", str(path), lambda path=path: remove_directory(path)))  # type: ignore[misc]
    return leftovers


def _end_group(name: str) -> None:
    group_of(name).kill()
    remove_group(name)


def _made(path: Path) -> float | None:
    try:
        return path.lstat().st_ctime
    except OSError:
        return None


def _is_gone(name: str, made: float | None = None) -> bool:
    owner = parse(name)
    return owner is not None and owner.is_gone(made)
