"""Fence off the network of a Podman container after Podman has connected it and before it starts.

Root enters the network namespace with a thread. An ordinary user enters the user namespace of the network as well,
which
Linux allows only to a process with a single thread, so a small process does it.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import subprocess
import sys
from pathlib import Path

from ...egress import netlink
from ...egress.fence import Fence, fence_off
from ...errors import EngineLost
from ...oci.network import address_of_interface
from ...oci.rootless import NAME_SERVER, SLIRP
from ...task.spec import TaskSpec
from ..docker.way_out import in_thread, namespace_of, resolv_conf

_ROOT = Path(__file__).resolve().parents[3]
_PATIENCE = 20.0
_NAME_SERVERS = (NAME_SERVER, "169.254.1.1")  # the name servers of slirp4netns and pasta


def fence_in(spec: TaskSpec, pid: int, container: str, *, rootless: bool) -> None:
    """Fence off the network of a container that has not started. Raise EngineLost if that fails."""
    try:
        if rootless:
            _as_user(pid)
            return
        device, gateway = default_route(Path(f"/proc/{pid}/net/route").read_text(encoding="ascii"))
        with namespace_of(pid, container) as namespace:
            in_thread(lambda: _as_root(namespace, device, gateway, Fence.here(resolv_conf())))
    except OSError as error:
        raise EngineLost(
            f"the network of task `{spec.task}` could not be fenced off: {error}",
            task=spec.task,
            hint='network="none", or names: network=["example.org"]',
        ) from None


def default_route(table: str) -> tuple[str, ipaddress.IPv4Address]:
    """Return the interface and the next hop of the default route in a /proc/net/route.

    >>> default_route("Iface Destination Gateway\\neth0 00000000 0100580A\\neth0 0000580A 00000000\\n")
    ('eth0', IPv4Address('10.88.0.1'))
    """
    for line in table.splitlines()[1:]:
        device, destination, hop = line.split()[:3]
        if destination == "00000000":
            return device, ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(hop), "little"))
    raise OSError("the container has no default route")


def _as_root(namespace: int, device: str, gateway: ipaddress.IPv4Address, fence: Fence) -> None:
    names = [name for _, name in socket.if_nameindex()]
    bridge = next((name for name in names if _has(name, gateway)), None)
    if bridge is None:
        raise OSError(f"no interface of this machine has the address {gateway}")
    with netlink.netlink() as outside:
        index = socket.if_nametoindex(bridge)
        netlink.pin_hardware_address(outside, index)
        hardware = netlink.hardware_address(outside, index)
    netlink.enter(namespace)
    with netlink.netlink() as inside:
        fence_off(inside, socket.if_nametoindex(device), fence, hardware)


def _has(name: str, address: ipaddress.IPv4Address) -> bool:
    found = address_of_interface(name)
    return found is not None and found.ip == address


def _as_user(pid: int) -> None:
    own = "".join(f"nameserver {address}\n" for address in _NAME_SERVERS)
    document = json.dumps(Fence.here(own + resolv_conf(), [SLIRP]).document())
    done = subprocess.run(
        (sys.executable, "-I", "-c", _PROGRAM, str(_ROOT), str(pid), document),
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        cwd="/",
        env={},
        check=False,
    )
    if done.returncode:
        raise OSError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "its process failed")


_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from flyte_images_runtime.oci.enter import main
main(int(sys.argv[2]), sys.argv[3])
"""
