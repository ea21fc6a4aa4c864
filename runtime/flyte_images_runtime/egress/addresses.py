"""The addresses of this machine, and the networks of its bridges, in which other containers are."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from .allowlist import Address, Network


def own_addresses(proc: Path = Path("/proc")) -> set[Address]:
    """Return every address of every interface in this process's network namespace."""
    found: set[Address] = set()
    last = ""
    for line in _lines(proc / "net/fib_trie"):  # `|-- ADDRESS`, and below it the kind of the address
        if line.startswith("|-- "):
            last = line[4:]
        elif line == "/32 host LOCAL":
            found.add(ipaddress.IPv4Address(last))
    for line in _lines(proc / "net/if_inet6"):
        found.add(ipaddress.IPv6Address(bytes.fromhex(line.split()[0])))
    return found


def bridged_networks(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> set[Network]:
    """Return the networks of this machine's bridges: those of Docker, Podman, nerdctl and virtual machines."""
    found: set[Network] = set()
    for line in _lines(proc / "net/route")[1:]:
        interface, destination, _, _, _, _, _, mask = line.split()[:8]
        if int(mask, 16) and _is_bridge(sys, interface):
            network, netmask = (int.from_bytes(bytes.fromhex(text), "little") for text in (destination, mask))
            found.add(ipaddress.IPv4Network((network, netmask.bit_count())))
    for line in _lines(proc / "net/ipv6_route"):
        fields = line.split()
        prefix = int(fields[1], 16)
        if 0 < prefix < 128 and _is_bridge(sys, fields[-1]):
            found.add(ipaddress.IPv6Network((bytes.fromhex(fields[0]), prefix), strict=False))
    return found


def _is_bridge(sys: Path, interface: str) -> bool:
    return (sys / "class/net" / interface / "bridge").exists()


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="ascii").splitlines()]
    except OSError:
        return []
