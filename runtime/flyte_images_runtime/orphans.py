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
from pathlib import Path

from .cgroup import existing, group_names, remove_group
from .exchange import left_over, remove_directory
from .owner import Owner, current, parse

_PATIENCE = 60.0  # seconds that are spent on cleaning up after a caller
_PAUSE = 0.5  # seconds between two looks
_guard = threading.Lock()
_keepers: dict[tuple[int, str], subprocess.Popen[bytes]] = {}


def watch_over(address: str) -> None:
    """From now on, when this process ends in whatever way, what it has running on the engine at `address` ends too.

    A helper process holds the other end of a pipe; it sleeps until that closes. Once a process; costs about 10 ms of
    another CPU. Also sweeps, once, what earlier owners left.
    """
    key = (os.getpid(), address)
    with _guard:
        if key in _keepers:
            return
        command = (
            f"import sys; sys.path[:0] = [{str(Path(__file__).resolve().parents[1])!r}]; "
            "import os; os.read(0, 1) == b'.' or "
            "__import__('flyte_images_runtime.orphans').orphans.after(*sys.argv[1:])"
        )
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", command, address, str(current())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C at the terminal is the caller's alone
            cwd="/",
        )
        _keepers[key] = keeper
        atexit.register(_dismiss, key)
        if _any_left():
            threading.Thread(target=sweep, args=(address,), daemon=True).start()


def _dismiss(key: tuple[int, str]) -> None:
    """This process ends as it should. What a thread that dies with it leaves, the keeper removes."""
    if key[0] != os.getpid():
        return  # a fork of the process that started it
    keeper = _keepers.pop(key)
    assert keeper.stdin is not None
    if any(parse(name) == current() for name in _names()):
        keeper.stdin.close()
        keeper.returncode = 0  # it outlives this process, and nobody waits for it
        return
    with contextlib.suppress(OSError):
        os.write(keeper.stdin.fileno(), b".")
    keeper.communicate()


def _any_left() -> bool:
    """Is there a directory or a cgroup of an owner that is gone? That is quick to see, and mostly there is none."""
    return any(map(_is_gone, _names()))


def _names() -> set[str]:
    """Of all directories and cgroups of tasks."""
    return {*(path.name for path in left_over("")), *group_names("")}


def after(address: str, owner: str) -> None:
    """Clean up after `owner` until nothing is found twice: an engine may still be making what it was asked for last."""
    deadline = time.monotonic() + _PATIENCE
    clean = 0
    while clean < 2 and time.monotonic() < deadline:
        clean = 0 if sweep(address, owner) else clean + 1
        time.sleep(_PAUSE)


def sweep(address: str, owner: str | None = None) -> int:
    """Remove what `owner`, or else every owner that is gone, has left. Returns how many things there were."""
    from .engines.remains import remove_containers

    def theirs(name: str) -> bool:
        return str(parse(name)) == owner if owner else _is_gone(name)

    count = remove_containers(address, theirs)
    for name in filter(theirs, group_names("")):
        count += 1
        existing(name).kill()
        remove_group(name)
    for path in left_over(""):
        if theirs(path.name):
            count += 1
            remove_directory(path)
    return count


def _is_gone(name: str) -> bool:
    owner: Owner | None = parse(name)
    return owner is not None and owner.is_gone()
