"""A network of a task's own from which it reaches out and others do not reach in: a pair of virtual cables to a bridge.

Docker is asked once to make the bridge, and keeps its address translation. The rest is a few messages to the kernel:
one end of the cable lies in the namespace of the thread that makes the container, and goes with it, so nothing has to
be taken down.
"""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BRIDGE = "flyte-images0"  # an interface's name has at most 15 letters
NETWORK = "flyte-images"
_CLONE_NEWNET = 0x4000_0000
_GETADDR, _GETMASK = 0x8915, 0x891B  # SIOCGIFADDR, SIOCGIFNETMASK
_RESERVED = 256  # addresses at the beginning that Docker gives to containers of its own

# linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h
_NEWLINK, _GETLINK, _NEWADDR, _NEWROUTE = 16, 18, 20, 24
_REQUEST, _ACK, _CREATE_NEW = 0x1, 0x4, 0x600
_IFNAME, _MASTER, _LINKINFO, _NETNS_PID = 3, 10, 18, 19
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_UP = 0x1
_LOOPBACK = 1  # the index of `lo` in every namespace

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Bridge:
    """The bridge's index, and its own address, which is the way out."""

    index: int
    address: ipaddress.IPv4Interface

    def address_of(self, cable: int) -> ipaddress.IPv4Interface:
        """Return the address of the container on a cable: no two cables have one index at a time.

        >>> bridge = Bridge(7, ipaddress.IPv4Interface("172.18.0.1/16"))
        >>> str(bridge.address_of(4)), str(bridge.address_of(70000))
        ('172.18.1.4/16', '172.18.19.113/16')
        """
        network = self.address.network
        room = network.num_addresses - _RESERVED - 1
        if room < _RESERVED:
            raise OSError(f"the network {network} of the bridge {BRIDGE} is too small")
        return ipaddress.IPv4Interface((network[_RESERVED + cable % room], network.prefixlen))


def find_bridge() -> Bridge | None:
    """The bridge, if it has been made."""
    try:
        index = socket.if_nametoindex(BRIDGE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            request = struct.pack("256s", BRIDGE.encode())
            address, mask = (fcntl.ioctl(any_socket, ask, request)[20:24] for ask in (_GETADDR, _GETMASK))
    except OSError:
        return None
    return Bridge(index, ipaddress.IPv4Interface(f"{socket.inet_ntoa(address)}/{socket.inet_ntoa(mask)}"))


def docker_network() -> dict[str, Any]:
    """What Docker is asked to make: containers on it reach out, and not each other."""
    return {
        "Name": NETWORK,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Options": {"com.docker.network.bridge.name": BRIDGE, "com.docker.network.bridge.enable_icc": "false"},
        "Labels": {"io.flyte-images": "network of tasks that run without Docker"},
    }


def plug_in(bridge: Bridge) -> None:
    """Give the calling thread a network namespace of its own with a cable to the bridge.

    The thread must be one that ends soon: what it starts keeps the namespace.
    """
    with _netlink() as outside:  # a socket stays in the namespace in which it was opened
        if _libc.unshare(_CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"{os.strerror(number)}: a network namespace of its own")
        name = f"fi{_thread():x}"
        _make_cable(outside, name, bridge.index)
        cable = _index_of(outside, name)
        # tasks do not reach each other; sysfs is the host's still, and shows the end that lies there
        Path(f"/sys/class/net/{name}/brport/isolated").write_text("1", encoding="utf-8")
    with _netlink() as inside:
        _set_up(inside, _LOOPBACK)
        end = socket.if_nametoindex("eth0")
        address = bridge.address_of(cable)
        _add_address(inside, end, address)
        _set_up(inside, end)
        _add_route(inside, end, bridge.address.ip)
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0", encoding="utf-8")  # as in every container


def name_servers(host: str, resolved: str) -> str:
    """Return a resolv.conf for a container: without servers that are the host's own loopback.

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


def _make_cable(link: socket.socket, name: str, bridge: int) -> None:
    """One end at the bridge, the other, `eth0`, in the namespace of this thread."""
    peer = _link(0, 0) + _text(_IFNAME, "eth0") + _number(_NETNS_PID, _thread())
    info = _attribute(_LINKINFO, _text(_INFO_KIND, "veth") + _attribute(_INFO_DATA, _attribute(_VETH_PEER, peer)))
    message = _link(0, _UP) + _text(_IFNAME, name) + _number(_MASTER, bridge) + info
    _ask(link, _NEWLINK, _CREATE_NEW, message)


def _index_of(link: socket.socket, name: str) -> int:
    answer = _ask(link, _GETLINK, 0, _link(0, 0) + _text(_IFNAME, name))
    return int(struct.unpack_from("=i", answer, 4)[0])


def _set_up(link: socket.socket, index: int) -> None:
    _ask(link, _NEWLINK, 0, _link(index, _UP))


def _add_address(link: socket.socket, index: int, address: ipaddress.IPv4Interface) -> None:
    head = struct.pack("=BBBBi", socket.AF_INET, address.network.prefixlen, 0, 0, index)
    _ask(link, _NEWADDR, _CREATE_NEW, head + _attribute(2, address.ip.packed) + _attribute(1, address.ip.packed))


def _add_route(link: socket.socket, index: int, gateway: ipaddress.IPv4Address) -> None:
    main_table, by_administrator, universe, unicast = 254, 4, 0, 1
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, main_table, by_administrator, universe, unicast, 0)
    _ask(link, _NEWROUTE, _CREATE_NEW, head + _attribute(5, gateway.packed) + _number(4, index))


@contextmanager
def _netlink() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as link:
        link.bind((0, 0))
        link.settimeout(10)
        yield link


def _ask(link: socket.socket, kind: int, flags: int, body: bytes) -> bytes:
    """Send a request; return the answer's body, or raise what the kernel says."""
    asks = kind == _GETLINK
    flags |= _REQUEST | (0 if asks else _ACK)
    link.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
    answer = link.recv(1 << 16)
    (kind_of_answer,) = struct.unpack_from("=H", answer, 4)
    if kind_of_answer == 2:  # NLMSG_ERROR, and an acknowledgement is the error 0
        (error,) = struct.unpack_from("=i", answer, 16)
        if error:
            raise OSError(-error, f"{os.strerror(-error)}: a network for the container")
    return answer[16:]


def _link(index: int, flags: int) -> bytes:
    return struct.pack("=BBHiII", socket.AF_UNSPEC, 0, 0, index, flags, flags)


def _attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + b"\0" * (-len(content) % 4)


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


def _number(kind: int, number: int) -> bytes:
    return _attribute(kind, struct.pack("=I", number))


def _thread() -> int:
    return int(_libc.gettid())
