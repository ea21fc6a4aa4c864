"""Nothing stays behind: a process of its own that cleans up when the caller dies, and a sweep for what it missed.

Everything that a run makes bears its owner's name (owner.py): containers as a label, cgroups and directories in their
names. What belongs to a process that is certainly gone is removed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from .cgroup import group_names, remove_group
from .exchange import left_over, remove_directory
from .owner import Owner, current, parse

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
            "__import__('flyte_images_runtime.orphans').orphans.sweep(*sys.argv[1:])"
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
    """This process ends as it should, and has removed what it made."""
    if key[0] != os.getpid():
        return  # a fork of the process that started it
    keeper = _keepers.pop(key)
    with contextlib.suppress(OSError):
        assert keeper.stdin is not None
        os.write(keeper.stdin.fileno(), b".")
    keeper.communicate()


def _any_left() -> bool:
    """Is there a directory of an owner that is gone? That is quick to see, and mostly there is none."""
    return any(_is_gone(path.name) for path in left_over(""))


def sweep(address: str, owner: str | None = None) -> int:
    """Remove what `owner`, or else every owner that is gone, has left. Returns how many things."""
    from .engines.docker.api import Api, Refused
    from .engines.docker.container import OWNER
    from .failures import EngineLost

    count = 0
    api = Api(address)
    with contextlib.suppress(EngineLost, Refused):
        filters = json.dumps({"label": [f"{OWNER}={owner}" if owner else OWNER]})
        for found in api.call("GET", "/containers/json", all="true", filters=filters):
            if owner or _is_gone(str(found.get("Labels", {}).get(OWNER))):
                with contextlib.suppress(Refused):
                    api.call("DELETE", f"/containers/{found['Id']}", force="true", v="true")
                    count += 1
    for name in group_names(owner or ""):
        if owner or _is_gone(name):
            remove_group(name)
            count += 1
    for path in left_over(owner or ""):
        if owner or _is_gone(path.name):
            remove_directory(path)
            count += 1
    return count


def _is_gone(name: str) -> bool:
    owner: Owner | None = parse(name)
    return owner is not None and owner.is_gone()
