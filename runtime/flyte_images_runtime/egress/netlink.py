"""Messages to the kernel about interfaces, addresses, routes, neighbors and rules: linux/rtnetlink.h, fib_rules.h."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .allowlist import Address, Network

_NEWLINK, _GETLINK, _NEWADDR, _NEWROUTE, _NEWNEIGHBOR, _NEWRULE = 16, 18, 20, 24, 28, 32
_REQUEST, _ACK, _REPLACE, _CREATE_NEW, _CREATE = 0x1, 0x4, 0x100, 0x600, 0x400
_ADDRESS, _IFNAME, _MASTER, _LINKINFO, _NETNS_FD = 1, 3, 10, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_UP, _ONLINK, _PERMANENT = 0x1, 0x4, 0x80
_BY_ADMINISTRATOR, _UNIVERSE, _UNICAST = 4, 0, 1
_TO_TABLE, _UNREACHABLE = 1, 7
MAIN = 254
"""The table of routes that the kernel uses when no rule names another table."""
LOOPBACK = 1
"""The index of `lo` in every namespace."""
CLONE_NEWNET, CLONE_NEWUSER = 0x4000_0000, 0x1000_0000

libc = ctypes.CDLL(None, use_errno=True)


_NO_VERSION_6 = (errno.EAFNOSUPPORT, errno.EOPNOTSUPP)  # a kernel without version 6 reaches nothing there


class _Request(NamedTuple):
    kind: int
    flags: int
    body: bytes
    ignored: tuple[int, ...]
    """Numbers of errors that are not raised."""


class Link:
    """A netlink socket. Its requests are answered one by one, or those of a `together` block at once."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._waiting: list[_Request] | None = None

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send the requests of the block in one message at its end. Raise OSError for the first refused one.

        The kernel answers a refused request and the last one: one answer instead of dozens.
        """
        self._waiting = []
        try:
            yield
            waiting = self._waiting
        finally:
            self._waiting = None
        if waiting:
            self._send(waiting)

    def ask(self, kind: int, flags: int, body: bytes, *, ignored: tuple[int, ...] = ()) -> None:
        """Make a request. An error whose number is in `ignored` is not raised."""
        request = _Request(kind, flags | _REQUEST, body, ignored)
        if self._waiting is None:
            self._send([request])
        else:
            self._waiting.append(request)

    def look_up(self, body: bytes) -> bytes:
        """Return what the kernel says of one interface."""
        self._channel.send(struct.pack("=IHHII", 16 + len(body), _GETLINK, _REQUEST, 1, 0) + body)
        return self._answer()[1]

    def _send(self, requests: list[_Request]) -> None:
        last = len(requests) - 1
        message = bytearray()
        for number, (kind, flags, body, _) in enumerate(requests):
            flags |= _ACK if number == last else 0
            message += struct.pack("=IHHII", 16 + len(body), kind, flags, number, 0) + body
            message += b"\0" * (-len(message) % 4)
        self._channel.send(message)
        number = -1
        while number != last:
            number, _ = self._answer(tuple(request.ignored for request in requests))

    def _answer(self, ignored: tuple[tuple[int, ...], ...] = ((), ())) -> tuple[int, bytes]:
        """Return an answer's number and body, or raise what the kernel says."""
        answer = self._channel.recv(1 << 16)
        kind, _, number = struct.unpack_from("=HHI", answer, 4)
        if kind == 2:  # NLMSG_ERROR, and an acknowledgement is the error 0
            (error,) = struct.unpack_from("=i", answer, 16)
            if error and -error not in ignored[number]:
                raise OSError(-error, f"{os.strerror(-error)}: a network for the container")
        return number, answer[16:]


@contextmanager
def netlink() -> Iterator[Link]:
    """A socket for messages; it stays in the network namespace in which it was opened."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as link:
        link.bind((0, 0))
        link.settimeout(10)
        yield Link(link)


def enter(namespace: int, kind: int = CLONE_NEWNET) -> None:
    """Put the calling thread into a network namespace, or one of another kind. The thread must end soon afterwards."""
    if libc.setns(namespace, kind):
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)}: a namespace of the container")


def make_cable(link: Link, name: str, bridge: int, namespace: int) -> None:
    """Make a pair of virtual interfaces: one end on the bridge, the other, `eth0`, in a namespace."""
    peer = _link(0, 0) + _text(_IFNAME, "eth0") + _number(_NETNS_FD, namespace)
    info = _attribute(_LINKINFO, _text(_INFO_KIND, "veth") + _attribute(_INFO_DATA, _attribute(_VETH_PEER, peer)))
    message = _link(0, _UP) + _text(_IFNAME, name) + _number(_MASTER, bridge) + info
    link.ask(_NEWLINK, _CREATE_NEW, message)


def index_of(link: Link, name: str) -> int:
    """Return the index of an interface."""
    answer = link.look_up(_link(0, 0) + _text(_IFNAME, name))
    return int(struct.unpack_from("=i", answer, 4)[0])


def hardware_address(link: Link, index: int) -> bytes:
    """Return the hardware address of an interface. Raise OSError if it has none."""
    answer, at = link.look_up(_link(index, 0)), 16
    while at + 4 <= len(answer):
        length, kind = struct.unpack_from("=HH", answer, at)
        if kind == _ADDRESS:
            return answer[at + 4 : at + length]
        at += max(4, (length + 3) & ~3)
    raise OSError("an interface without a hardware address")


def pin_hardware_address(link: Link, index: int) -> None:
    """Keep the present hardware address of a bridge, whichever interfaces are added or removed."""
    address = hardware_address(link, index)
    link.ask(_NEWLINK, 0, _link(index, 0) + _attribute(_ADDRESS, address))


def set_up(link: Link, index: int) -> None:
    """Switch an interface on."""
    link.ask(_NEWLINK, 0, _link(index, _UP))


def add_address(link: Link, index: int, address: ipaddress.IPv4Address) -> None:
    """Give an interface an address, without a network around it."""
    head = struct.pack("=BBBBi", socket.AF_INET, 32, 0, 0, index)
    link.ask(_NEWADDR, _CREATE_NEW, head + _attribute(2, address.packed) + _attribute(1, address.packed))


def set_default_route(link: Link, index: int, hop: ipaddress.IPv4Address, table: int = MAIN) -> None:
    """Send everything without another route in the table to one neighbor, which need not be in a local network."""
    kind = (table, _BY_ADMINISTRATOR, _UNIVERSE, _UNICAST, _ONLINK)
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, *kind)
    body = head + _attribute(5, hop.packed) + _number(4, index)
    link.ask(_NEWROUTE, _CREATE | _REPLACE, body)


def set_neighbor(link: Link, index: int, address: Address, hardware: bytes) -> None:
    """Set the hardware address of a neighbor permanently."""
    head = struct.pack("=BBHiHBB", _family(address), 0, 0, index, _PERMANENT, 0, 0)
    body = head + _attribute(1, address.packed) + _attribute(2, hardware)
    link.ask(_NEWNEIGHBOR, _CREATE | _REPLACE, body)


def add_unreachable(link: Link, priority: int, network: Network) -> None:
    """Refuse every destination in a network, before the kernel looks for a route."""
    _add_rule(link, priority, network, _UNREACHABLE, b"", 0)


def add_passage(link: Link, priority: int, network: Network, protocol: int, port: int, table: int) -> None:
    """Let one protocol through to one port of a network, by the routes of a table."""
    ports = _attribute(24, struct.pack("=HH", port, port))
    _add_rule(link, priority, network, _TO_TABLE, _attribute(22, bytes((protocol,))) + ports, table)


def _add_rule(link: Link, priority: int, network: Network, action: int, more: bytes, table: int) -> None:
    address = network.network_address
    head = struct.pack("=BBBBBBBBI", _family(address), network.prefixlen, 0, 0, table, 0, 0, action, 0)
    body = head + _attribute(1, address.packed) + _number(6, priority) + more
    link.ask(_NEWRULE, _CREATE_NEW, body, ignored=_NO_VERSION_6 if network.version == 6 else ())


def _family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _link(index: int, flags: int) -> bytes:
    return struct.pack("=BBHiII", socket.AF_UNSPEC, 0, 0, index, flags, flags)


def _attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + b"\0" * (-len(content) % 4)


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


def _number(kind: int, number: int) -> bytes:
    return _attribute(kind, struct.pack("=I", number))
