"""The process that fences off the network of an ordinary user's container, which it enters to do so."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from ..egress import netlink
from ..egress.fence import Fence, fence_slirp

_OWNER = 0xB701  # NS_GET_USERNS


def main(pid: int, document: str) -> None:
    """Enter the network namespace of the process, and before it the user namespace that it belongs to."""
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if os.fstat(network).st_ino == Path("/proc/self/ns/net").stat().st_ino:
        raise OSError("the container has no network of its own")
    owner = fcntl.ioctl(network, _OWNER)
    netlink.enter(owner, netlink.CLONE_NEWUSER)
    netlink.enter(network)
    fence_slirp(Fence.of(json.loads(document)))
