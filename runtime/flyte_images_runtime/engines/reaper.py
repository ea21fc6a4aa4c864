"""Nothing stays behind: a process of its own that cleans up when the caller dies, and a sweep for what it missed.

Everything that a run makes bears its owner's name (owner.py): containers as a label, cgroups and directories in their
names. What belongs to a process that is certainly gone is removed.
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

_PATIENCE = 60.0  # seconds that are spent on cleaning up after a caller
_PAUSE = 0.5  # seconds between two looks
_guard = threading.Lock()
_keepers: dict[tuple[int, str], subprocess.Popen[bytes]] = {}
_lost: set[str] = set()


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that nobody will come back for: what it is, in words, and how it is removed."""

    kind: str
    name: str
    remove: Callable[[], object]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def watch_over(address: str, stamp: str = "") -> bool:
    """From now on, when this process ends in whatever way, what it has running on the engine at `address` ends too.

    A helper process holds the other end of a pipe; it sleeps until that closes. Once a process; costs about 10 ms of
    another CPU. If the engine has gone away by then and does not come back, the helper removes the file `stamp`, by
    which others know that there is nothing to sweep. Return False if the process was watched over already.
    """
    key = (os.getpid(), address)
    with _guard:
        if key in _keepers:
            return False
        command = (
            f"import sys; sys.path[:0] = [{str(Path(__file__).resolve().parents[2])!r}]; "
            "import os; os.read(0, 1) == b'.' or "
            "__import__('flyte_images_runtime.engines.reaper', fromlist=['after']).after(*sys.argv[1:])"
        )
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", command, address, str(current()), stamp],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C at the terminal is the caller's alone
            cwd="/",
        )
        _keepers[key] = keeper
        atexit.register(_dismiss, key)
        if any(map(_is_gone, _names())):  # quick to see, and mostly there is none
            threading.Thread(target=sweep, args=(address,), daemon=True).start()
    return True


def engine_lost(address: str) -> None:
    """The engine went away while it had something of this process: the helper goes on when this process has ended."""
    _lost.add(address)


def _dismiss(key: tuple[int, str]) -> None:
    """This process ends as it should. What a thread that dies with it leaves, the keeper removes."""
    pid, address = key
    if pid != os.getpid():
        return  # a fork of the process that started it
    keeper = _keepers.pop(key)
    assert keeper.stdin is not None
    if address in _lost or any(parse(name) == current() for name in _names()):
        keeper.stdin.close()
        keeper.returncode = 0  # it outlives this process, and nobody waits for it
        return
    with contextlib.suppress(OSError):
        os.write(keeper.stdin.fileno(), b".")
    keeper.communicate()


def _names() -> set[str]:
    """Of all directories and cgroups of tasks."""
    return {*(path.name for path in left_over("")), *group_names("")}


def after(address: str, owner: str, stamp: str = "") -> None:
    """Clean up after `owner` until nothing is found twice: an engine may still be making what it was asked for last."""
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
    """Remove what `owner`, or else every owner that is gone, has left.

    Return how many things there were, and whether the engine has answered.
    """
    from ..errors import EngineLost

    there, answered = leftovers_here(owner), True
    try:
        there = [*leftovers_of(address, owner), *there]
    except EngineLost:
        answered = False
    for one in there:
        with contextlib.suppress(EngineLost):
            one.remove()
    return len(there), answered


def leftovers_of(address: str, owner: str | None = None) -> list[Leftover]:
    """The containers of `owner`, or of all owners that are gone, on that engine. EngineLost if it does not answer."""
    from .leftovers import Remaining, containers

    def is_left(one: Remaining) -> bool:
        if owner is not None:
            return str(parse(one.owner)) == owner
        # of an earlier boot is only what no longer runs: an engine may be another machine's, behind a socket here
        return _is_gone(one.owner, None if one.runs else one.made)

    return [Leftover("container", one.name, one.remove) for one in containers(address) if is_left(one)]


def leftovers_here(owner: str | None = None) -> list[Leftover]:
    """The cgroups and directories of `owner`, or of all owners that are gone."""
    found: list[Leftover] = []
    for name in group_names(""):
        if str(parse(name)) == owner if owner else _is_gone(name):
            found.append(Leftover("cgroup", name, lambda name=name: _end_group(name)))  # type: ignore[misc]
    for path in left_over(""):
        if str(parse(path.name)) == owner if owner else _is_gone(path.name, _made(path)):
            found.append(Leftover("directory", str(path), lambda path=path: remove_directory(path)))  # type: ignore[misc]
    return found


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
