"""Messages to the kernel about interfaces, addresses, routes, neighbors and rules: linux/rtnetlink.h, fib_rules.h."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from .allowlist import Address, Network

_NEWLINK, _GETLINK, _NEWADDR, _NEWROUTE, _NEWNEIGHBOR, _NEWRULE = 16, 18, 20, 24, 28, 32
_REQUEST, _ACK, _REPLACE, _CREATE_NEW, _CREATE = 0x1, 0x4, 0x100, 0x600, 0x400
_ADDRESS, _IFNAME, _MASTER, _LINKINFO, _NETNS_FD = 1, 3, 10, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_UP, _ONLINK, _PERMANENT = 0x1, 0x4, 0x80
_BY_ADMINISTRATOR, _UNIVERSE, _UNICAST = 4, 0, 1
_TO_TABLE, _UNREACHABLE = 1, 7
MAIN = 254
"""The table of routes that is looked into when no rule says another."""
LOOPBACK = 1
"""The index of `lo` in every namespace."""
CLONE_NEWNET, CLONE_NEWUSER = 0x4000_0000, 0x1000_0000

libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def netlink() -> Iterator[socket.socket]:
    """A socket for messages; it stays in the network namespace in which it was opened."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as link:
        link.bind((0, 0))
        link.settimeout(10)
        yield link


def enter(namespace: int, kind: int = CLONE_NEWNET) -> None:
    """Put the calling thread into a network (or another) namespace. The thread must be one that ends soon."""
    if libc.setns(namespace, kind):
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)}: a namespace of the container")


def make_cable(link: socket.socket, name: str, bridge: int, namespace: int) -> None:
    """One end at the bridge, the other, `eth0`, in a namespace."""
    peer = _link(0, 0) + _text(_IFNAME, "eth0") + _number(_NETNS_FD, namespace)
    info = _attribute(_LINKINFO, _text(_INFO_KIND, "veth") + _attribute(_INFO_DATA, _attribute(_VETH_PEER, peer)))
    message = _link(0, _UP) + _text(_IFNAME, name) + _number(_MASTER, bridge) + info
    _ask(link, _NEWLINK, _CREATE_NEW, message)


def index_of(link: socket.socket, name: str) -> int:
    """The index of an interface."""
    answer = _ask(link, _GETLINK, 0, _link(0, 0) + _text(_IFNAME, name))
    return int(struct.unpack_from("=i", answer, 4)[0])


def hardware_address(link: socket.socket, index: int) -> bytes:
    """The hardware address of an interface."""
    answer, at = _ask(link, _GETLINK, 0, _link(index, 0)), 16
    while at + 4 <= len(answer):
        length, kind = struct.unpack_from("=HH", answer, at)
        if kind == _ADDRESS:
            return answer[at + 4 : at + length]
        at += max(4, (length + 3) & ~3)
    raise OSError("an interface without a hardware address")


def pin_hardware_address(link: socket.socket, index: int) -> None:
    """Let a bridge keep the address that it has, whichever interfaces come and go."""
    address = hardware_address(link, index)
    _ask(link, _NEWLINK, 0, _link(index, 0) + _attribute(_ADDRESS, address))


def set_up(link: socket.socket, index: int) -> None:
    """Switch an interface on."""
    _ask(link, _NEWLINK, 0, _link(index, _UP))


def add_address(link: socket.socket, index: int, address: ipaddress.IPv4Address) -> None:
    """Give an interface an address, without a network around it."""
    head = struct.pack("=BBBBi", socket.AF_INET, 32, 0, 0, index)
    _ask(link, _NEWADDR, _CREATE_NEW, head + _attribute(2, address.packed) + _attribute(1, address.packed))


def set_default_route(link: socket.socket, index: int, hop: ipaddress.IPv4Address, table: int = MAIN) -> None:
    """Send everything for which the table has no other route to a neighbor, in no network of ours."""
    kind = (table, _BY_ADMINISTRATOR, _UNIVERSE, _UNICAST, _ONLINK)
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, *kind)
    body = head + _attribute(5, hop.packed) + _number(4, index)
    _ask(link, _NEWROUTE, _CREATE | _REPLACE, body)


def set_neighbor(link: socket.socket, index: int, address: Address, hardware: bytes) -> None:
    """Say for good which hardware address a neighbor has."""
    head = struct.pack("=BBHiHBB", _family(address), 0, 0, index, _PERMANENT, 0, 0)
    body = head + _attribute(1, address.packed) + _attribute(2, hardware)
    _ask(link, _NEWNEIGHBOR, _CREATE | _REPLACE, body)


def add_unreachable(link: socket.socket, priority: int, network: Network) -> None:
    """Refuse every destination in a network, before any route is looked for."""
    _add_rule(link, priority, network, _UNREACHABLE, b"", 0)


def add_passage(link: socket.socket, priority: int, network: Network, protocol: int, port: int, table: int) -> None:
    """Let one protocol to one port of a network through, by the routes of a table."""
    ports = _attribute(24, struct.pack("=HH", port, port))
    _add_rule(link, priority, network, _TO_TABLE, _attribute(22, bytes((protocol,))) + ports, table)


def _add_rule(link: socket.socket, priority: int, network: Network, action: int, more: bytes, table: int) -> None:
    address = network.network_address
    head = struct.pack("=BBBBBBBBI", _family(address), network.prefixlen, 0, 0, table, 0, 0, action, 0)
    _ask(link, _NEWRULE, _CREATE_NEW, head + _attribute(1, address.packed) + _number(6, priority) + more)


def _family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


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
