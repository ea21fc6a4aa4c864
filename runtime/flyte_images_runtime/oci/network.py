"""A network for one task: a pair of virtual interfaces, one on a bridge. The task reaches out; nothing reaches in.

Docker makes the bridge once, and does its address translation. A few messages to the kernel do the rest: one end of the
pair is in the network namespace of the thread that makes the container, and disappears with it, so nothing has to be
removed.
"""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import os
import re
import secrets
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..egress import netlink
from ..egress.fence import Fence, fence_off

BRIDGE = "flyte-images0"  # an interface's name has at most 15 letters
NETWORK = "flyte-images"
_GETADDR, _GETMASK = 0x8915, 0x891B  # SIOCGIFADDR, SIOCGIFNETMASK
_RESERVED = 256  # Docker gives the first addresses to its own containers


@dataclass(frozen=True, slots=True)
class Bridge:
    """The bridge's index, its own address, and its hardware address, which is the way out for tasks."""

    index: int
    address: ipaddress.IPv4Interface
    hardware: bytes = bytes(6)

    def address_of(self, cable: int) -> ipaddress.IPv4Interface:
        """Return the address of the container at the interface with index `cable`. Indexes in use are different.

        >>> bridge = Bridge(7, ipaddress.IPv4Interface("172.18.0.1/16"))
        >>> str(bridge.address_of(4)), str(bridge.address_of(70000))
        ('172.18.1.4/16', '172.18.19.113/16')
        """
        network = self.address.network
        room = network.num_addresses - _RESERVED - 1
        if room < _RESERVED:
            raise OSError(f"the network {network} of the bridge {BRIDGE} is too small")
        return ipaddress.IPv4Interface((network[_RESERVED + cable % room], network.prefixlen))


def address_of_interface(name: str) -> ipaddress.IPv4Interface | None:
    """Return the address of an interface of this machine. None without an address or without the interface."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            request = struct.pack("256s", name.encode())
            address, mask = (fcntl.ioctl(any_socket, ask, request)[20:24] for ask in (_GETADDR, _GETMASK))
    except OSError:
        return None
    return ipaddress.IPv4Interface(f"{socket.inet_ntoa(address)}/{socket.inet_ntoa(mask)}")


def find_bridge() -> Bridge | None:
    """Return the bridge, or None before Docker has made it."""
    address = address_of_interface(BRIDGE)
    if address is None:
        return None
    try:
        index = socket.if_nametoindex(BRIDGE)
        hardware = bytes.fromhex(Path(f"/sys/class/net/{BRIDGE}/address").read_text(encoding="ascii").replace(":", ""))
    except OSError:
        return None
    return Bridge(index, address, hardware)


def docker_network() -> dict[str, Any]:
    """Return Docker's request for the network: its containers reach out, and do not reach each other."""
    return {
        "Name": NETWORK,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Options": {"com.docker.network.bridge.name": BRIDGE, "com.docker.network.bridge.enable_icc": "false"},
        "Labels": {"io.flyte-images": "network of tasks that run without Docker"},
    }


def plug_in(bridge: Bridge, fence: Fence) -> None:
    """Give the calling thread a new, fenced network namespace with an interface on the bridge.

    The thread must end soon afterwards. Processes that it starts keep the namespace.
    """
    with netlink.netlink() as outside:  # the socket stays in the namespace in which it was opened
        if netlink.libc.unshare(netlink.CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"{os.strerror(number)}: a new network namespace")
        namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            cable = _lay_cable(outside, bridge, namespace)
        finally:
            os.close(namespace)
        _connect(bridge, cable, fence)
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0", encoding="utf-8")  # as in every container


def plug_into(namespace: int, bridge: Bridge, fence: Fence) -> None:
    """Connect a container whose network namespace has only a loopback. The calling thread must end soon afterwards."""
    with netlink.netlink() as outside:
        cable = _lay_cable(outside, bridge, namespace)
    netlink.enter(namespace)
    _connect(bridge, cable, fence)


def _lay_cable(outside: netlink.Link, bridge: Bridge, namespace: int) -> int:
    """Make a pair of interfaces from the bridge into the namespace. Return the index of the end at the bridge."""
    name = f"fi{secrets.token_hex(5)}"
    netlink.make_cable(outside, name, bridge.index, namespace)
    # tasks do not reach each other; /sys is still the host's, and shows this end
    Path(f"/sys/class/net/{name}/brport/isolated").write_text("1", encoding="utf-8")
    return netlink.index_of(outside, name)


def _connect(bridge: Bridge, cable: int, fence: Fence) -> None:
    """Set up an address inside the container's namespace, then the fence, which opens the way out."""
    with netlink.netlink() as inside:
        netlink.set_up(inside, netlink.LOOPBACK)
        end = socket.if_nametoindex("eth0")
        netlink.add_address(inside, end, bridge.address_of(cable).ip)
        netlink.set_up(inside, end)
        fence_off(inside, end, fence, bridge.hardware)


def name_servers(host: str, resolved: str) -> str:
    """Return a resolv.conf for a container, without servers on the host's own loopback.

    `host` is the host's file and `resolved` that of systemd-resolved, which knows the servers behind 127.0.0.53.

    >>> name_servers("nameserver 127.0.0.53\\nsearch lan\\n", "nameserver 192.0.2.1\\n")
    'nameserver 192.0.2.1\\nsearch lan\\n'
    """
    servers = [line for line in host.splitlines() if line.startswith("nameserver")]
    others = [line for line in host.splitlines() if not line.startswith("nameserver")]
    reachable = [line for line in servers if not re.match(r"nameserver\s+(127\.|::1)", line)]
    if not reachable:
        reachable = [line for line in resolved.splitlines() if line.startswith("nameserver")]
    return "".join(f"{line}\n" for line in (*reachable, *others))
