"""The process that enters the network of an ordinary user's container and fences it off."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from ..egress import netlink
from ..egress.fence import Fence, fence_slirp

_OWNER = 0xB701  # NS_GET_USERNS


def main(pid: int, document: str) -> None:
    """Enter the network namespace of the process `pid`, after the user namespace that owns it, and fence it off."""
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if os.fstat(network).st_ino == Path("/proc/self/ns/net").stat().st_ino:
        raise OSError("the container shares the network of this process")
    owner = fcntl.ioctl(network, _OWNER)
    netlink.enter(owner, netlink.CLONE_NEWUSER)
    netlink.enter(network)
    fence_slirp(Fence.of(json.loads(document)))
