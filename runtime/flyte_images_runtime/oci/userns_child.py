"""The process that becomes an ordinary user's container runtime: its namespaces, the bundle, then the runtime itself.

It has no rights but those that its own user namespace gives, and is a process of its own because Linux gives such a
namespace to no process of several threads. What goes wrong is written to the runtime's log.
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
    """The arguments: descriptors of the plan, of the log, to say that the namespaces are there, and to be told on."""
    plan, log, ready, go = map(int, sys.argv[1:])
    try:
        document = json.loads(os.pread(plan, os.fstat(plan).st_size, 0))
        _own_namespaces(network=document["fence"] is not None)
        os.write(ready, b".")
        if os.read(go, 1) != b".":
            sys.exit(1)  # who started it gave up, and says why
        for number in (plan, ready, go):
            os.close(number)
        _prepare(document)
        # all rights over what is below this namespace are root's of it: the runtime must be that root
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
        raise OSError(number, f"{os.strerror(number)}: a user namespace of its own")


def _prepare(document: dict[str, Any]) -> None:
    """Everything is made as who the caller is, so that it can be removed by the caller."""
    place = Path(document["place"])
    mount("none", "/", flags=RECURSIVE | PRIVATE)
    mount("flyte-images", place, "tmpfs", options="mode=711")
    make_directories(place)
    lay_out(
        place,
        document["layers"],
        upper=place,  # in memory: on disk it would hold files of users who are nobody, for the caller to remove
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
