"""Which names and addresses a task may reach through the proxy: `network=["example.org", "*.example.com"]`. Pure.

An entry is a name, `*.` and a name (every name below it), an address or a network, each with `:PORT` to allow only that
port. A name may lead only to public addresses, because the owner of the name decides where the name leads. A task
reaches other addresses if an entry names them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_NUMBERS = re.compile(r"[0-9.]+")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: a `name` (every name below it if `below`), or a `network`. `port` None stands for every port."""

    name: str = ""
    below: bool = False
    network: Network | None = None
    port: int | None = None

    def fits_port(self, port: int) -> bool:
        return self.port is None or self.port == port


def parse(text: str) -> Entry:
    """Parse an entry. Raise ValueError for text that is not one.

    >>> parse("*.Example.com:443")
    Entry(name='example.com', below=True, network=None, port=443)
    >>> parse("[2001:db8::1]:80").network, parse("10.0.0.0/8").network
    (IPv6Network('2001:db8::1/128'), IPv4Network('10.0.0.0/8'))
    >>> parse("http://example.org")
    Traceback (most recent call last):
    ValueError: `http://example.org` is not a name, an address or a network
    """
    host, port = _split(text)
    try:
        return Entry(network=ipaddress.ip_network(host.strip("[]")), port=port)
    except ValueError:
        name = host.lower().removesuffix(".")
        if not name.isascii():
            name = _punycode(name)
        if not _NAME.fullmatch(name) or len(name) > 253 or _NUMBERS.fullmatch(name):
            raise ValueError(f"`{text}` is not a name, an address or a network") from None
        return Entry(name=name.removeprefix("*."), below=name.startswith("*."), port=port)


def _split(text: str) -> tuple[str, int | None]:
    """Split `host:port`. An IPv6 address has colons itself, so brackets surround it before a port."""
    if "//" in text:
        return text, None
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        return text, None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"`{text}`: `{port}` is not a port")
    return host, int(port)


def _punycode(name: str) -> str:
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return ""


@dataclass(frozen=True, slots=True)
class Allowlist:
    """All entries of a task."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Allowlist:
        return cls(tuple(map(parse, texts)))

    def names(self, host: str, port: int) -> bool:
        """Return whether an entry names the host as it was requested. Its addresses are not looked at.

        >>> allowed = Allowlist.of(["*.example.com", "example.org:443"])
        >>> [allowed.names(*asked) for asked in (("a.b.example.com", 1), ("example.com", 1), ("example.org", 80))]
        [True, False, False]
        """
        address = literal(host)
        if address is not None:
            return self.has(address, port)
        name = host.lower().removesuffix(".")
        return any(
            (name.endswith("." + entry.name) if entry.below else name == entry.name) and entry.fits_port(port)
            for entry in self.entries
            if entry.network is None
        )

    def has(self, address: Address, port: int) -> bool:
        """Return whether an entry names the address, or a network with that address."""
        return any(
            entry.network is not None and address in entry.network and entry.fits_port(port) for entry in self.entries
        )

    def leads_to(self, address: Address, port: int, own: Collection[Address]) -> bool:
        """Return whether an allowed name may lead to the address. `own` are the addresses of this machine.

        >>> allowed, own = Allowlist.of(["example.org", "10.1.0.0/16"]), {ipaddress.ip_address("1.1.1.1")}
        >>> asked = ("8.8.8.8", "1.1.1.1", "10.1.2.3", "10.2.2.3", "169.254.169.254", "::ffff:127.0.0.1", "fe80::1")
        >>> [allowed.leads_to(ipaddress.ip_address(one), 443, own) for one in asked]
        [True, False, True, False, False, False, False]
        """
        if self.has(address, port):
            return True
        return all(each.is_global and not each.is_multicast and each not in own for each in _all_of(address))


def literal(host: str) -> Address | None:
    """Return `host` as an address, or None if it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _all_of(address: Address) -> list[Address]:
    """Return the address, and the IPv4 addresses inside it, to which a translator on the way would deliver."""
    addresses: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inside.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
            addresses = []  # the prefix itself belongs to the translator
        addresses = [*([] if address.ipv4_mapped else addresses), *(each for each in inside if each is not None)]
    return addresses
