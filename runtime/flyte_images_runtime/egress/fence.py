"""What a task with `network="outbound"` does not reach: metadata services, this machine, and other containers.

Rules in the task's own network namespace refuse these destinations before the kernel looks for a route. The task cannot
change the rules, since it has no rights over its network. A socket that is bound to an interface bypasses rules: the
kernel then takes every address for a neighbor. So the namespace never asks for a neighbor (no ARP), and the only known
neighbor is the way out, under an address that belongs to no machine.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import netlink
from .addresses import bridged_networks, own_addresses
from .allowlist import Address, Network

_HOP = ipaddress.IPv4Address("192.0.0.8")
"""The dummy address of RFC 7600, which no machine has."""
_ALWAYS = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.0.0/16",  # link-local: the metadata service of most clouds
            "100.100.100.200/32",  # metadata services at other addresses
            "168.63.129.16/32",
            "192.0.0.192/32",
            "fe80::/10",
            "fd00:ec2::254/128",
        ),
    )
)
_PASSAGE, _REFUSAL = 100, 200  # priorities: after the local table, before the main table
_DNS = 53
_WAY_OUT = 100  # a table without routes to near networks, in which a refused name server may be
_PROGRAM = bytes.fromhex("525500000002")


@dataclass(frozen=True, slots=True)
class Fence:
    """The networks to refuse, with this machine's own addresses, and the name servers that stay reachable."""

    refused: tuple[Network, ...]
    servers: tuple[Address, ...] = ()

    @classmethod
    def here(cls, resolv_conf: str = "", more: Iterable[str] = ()) -> Fence:
        """Return the fence for a task of this machine and the name servers in `resolv_conf`; it refuses `more` too."""
        own = {ipaddress.ip_network(one) for one in own_addresses() if not one.is_loopback}
        always = (*_ALWAYS, *map(ipaddress.ip_network, more))
        return cls((*always, *sorted(own | bridged_networks(), key=str)), name_servers_of(resolv_conf))

    def document(self) -> dict[str, Any]:
        """Return the fence as JSON values, for another process."""
        return {"refused": list(map(str, self.refused)), "servers": list(map(str, self.servers))}

    @classmethod
    def of(cls, document: dict[str, Any]) -> Fence:
        refused, servers = document["refused"], document["servers"]
        return cls(tuple(map(ipaddress.ip_network, refused)), tuple(map(ipaddress.ip_address, servers)))


def name_servers_of(resolv_conf: str) -> tuple[Address, ...]:
    """Return the addresses of the name servers in a resolv.conf.

    >>> name_servers_of("search lan\\nnameserver 192.0.2.1\\nnameserver fe80::1%eth0\\nnameserver x\\n")
    (IPv4Address('192.0.2.1'), IPv6Address('fe80::1'))
    """
    found = []
    for text in re.findall(r"^nameserver\s+([^\s%#;]+)", resolv_conf, re.MULTILINE):
        try:
            found.append(ipaddress.ip_address(text))
        except ValueError:
            continue
    return tuple(found)


def fence_off(link: netlink.Link, index: int, fence: Fence, way_out: bytes) -> None:
    """Fence off the network namespace of the calling thread, then open its way out.

    `link` is of that namespace, `index` is its interface, and `way_out` is the hardware address of the forwarder.
    """
    deaf = netlink.hardware_address(link, index)  # the bridge drops frames that are sent there
    with link.together():
        add_rules(link, fence)
        for network in fence.refused:
            if network.version == 4 and network.prefixlen == 32 and network not in _ALWAYS:
                netlink.set_neighbor(link, index, network.network_address, deaf)
    close_in(link, index, way_out)


def fence_slirp(fence: Fence) -> None:
    """Fence off the namespace of the calling thread, which slirp4netns or pasta connects for an ordinary user.

    Such a program takes every packet, whatever its hardware address. It leads to this machine's loopback, unless an
    option
    forbids that, and it is a name server.
    """
    with netlink.netlink() as link:
        device = next(name for _, name in socket.if_nameindex() if name != "lo")
        with link.together():
            add_rules(link, fence)
        close_in(link, socket.if_nametoindex(device), _PROGRAM)


def close_in(link: netlink.Link, index: int, way_out: bytes) -> None:
    """Leave one known neighbor, and the default route to it."""
    device = socket.if_indextoname(index)
    set_kernel(f"ipv4/neigh/{device}/mcast_solicit", "0")
    set_kernel(f"ipv6/conf/{device}/disable_ipv6", "1")  # every interface has a link-local address, bridges too
    for one in ("all", device):  # replies of a name server whose network is refused are not spoofed
        set_kernel(f"ipv4/conf/{one}/rp_filter", "0")
    with link.together():
        netlink.set_neighbor(link, index, _HOP, way_out)
        for table in (_WAY_OUT, netlink.MAIN):
            netlink.set_default_route(link, index, _HOP, table)


def add_rules(link: netlink.Link, fence: Fence) -> None:
    """Refuse the destinations; name servers stay reachable, at their port alone."""
    for server in fence.servers:
        for protocol in (socket.IPPROTO_UDP, socket.IPPROTO_TCP):
            netlink.add_passage(link, _PASSAGE, ipaddress.ip_network(server), protocol, _DNS, _WAY_OUT)
    for network in dict.fromkeys(fence.refused):
        netlink.add_unreachable(link, _REFUSAL, network)


def set_kernel(name: str, value: str) -> None:
    """Set a value of the calling thread's network namespace. A value that this kernel does not have is not needed."""
    path = Path("/proc/sys/net") / name
    if path.exists():
        path.write_text(value, encoding="ascii")
