"""The process that becomes an ordinary user's container runtime: it makes namespaces and the bundle, then runs it.

Its only rights are those in its own user namespace. It is a separate process because Linux refuses a new user namespace
to a process of several threads. Errors are written to the runtime's log.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

from ..egress.fence import Fence, fence_slirp
from ..system.mounts import PRIVATE, RECURSIVE, bind, mount
from .bundle import lay_out, make_directories

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x0002_0000, 0x1000_0000, 0x4000_0000
_LOW_PORTS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def main() -> None:
    """Arguments.

    Descriptors of the plan, of the log, to report that the namespaces exist, and to wait for the start.
    """
    plan, log, ready, go = map(int, sys.argv[1:])
    try:
        document = json.loads(os.pread(plan, os.fstat(plan).st_size, 0))
        _own_namespaces(network=document["fence"] is not None)
        os.write(ready, b".")
        if os.read(go, 1) != b".":
            sys.exit(1)  # the caller gave up and reports the reason
        for number in (plan, ready, go):
            os.close(number)
        _prepare(document)
        # only root inside has all rights over what is below this namespace, so the runtime must be that root
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.chdir(document["place"])
        os.execve(document["argv"][0], document["argv"], document["environ"])
    except OSError as error:
        os.write(log, json.dumps({"level": "error", "msg": str(error)}).encode() + b"\n")
        sys.exit(1)


def _own_namespaces(*, network: bool) -> None:
    flags = _CLONE_NEWUSER | _CLONE_NEWNS | (_CLONE_NEWNET if network else 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)}: a new user namespace")


def _prepare(document: dict[str, Any]) -> None:
    """Make everything as the caller's user, so that the caller can remove it."""
    place = Path(document["place"])
    mount("none", "/", flags=RECURSIVE | PRIVATE)
    mount("flyte-images", place, "tmpfs", options="mode=711")
    make_directories(place)
    lay_out(
        place,
        document["layers"],
        upper=place,  # in memory: on disk the caller could not remove files of users without an account
        files=document["files"],
        config=document["config"],
        ordinary_user=True,
    )
    for hidden in document["hidden"]:
        (place / "nothing").touch()
        bind(place / "nothing", hidden)
    if document["fence"] is not None:
        _LOW_PORTS.write_text("0", encoding="utf-8")  # as in every container
        fence_slirp(Fence.of(document["fence"]))


if __name__ == "__main__":
    main()
