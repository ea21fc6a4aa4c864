"""Root's containers reach out over a bridge of this product, on which each is fenced off (egress/fence.py).

Docker makes the bridge once. A container starts without a network and is connected and fenced off afterwards, so
nothing in it runs with an unfenced network.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...egress.fence import Fence
from ...errors import EngineLost
from ...oci.network import BRIDGE, NETWORK, Bridge, docker_network, find_bridge, name_servers, plug_into
from ...task.spec import TaskSpec
from .api import Api, Refused


def bridge_for(spec: TaskSpec, docker: Api | None) -> Bridge:
    """Return the bridge to the outside. Docker makes it on first use."""
    bridge = find_bridge()
    if bridge is None and docker is not None:
        make_network(spec, docker)
        bridge = find_bridge()
    if bridge is None:
        raise EngineLost(
            f"the bridge `{BRIDGE}` does not exist",
            task=spec.task,
            hint=f'docker network rm {NETWORK}, and run again; or network="none"',
        )
    return bridge


def make_network(spec: TaskSpec, docker: Api) -> None:
    """Make Docker's network, on which containers do not reach each other, unless it exists."""
    try:
        docker.call("GET", f"/networks/{NETWORK}")
    except Refused:
        try:
            docker.call("POST", "/networks/create", docker_network())
        except Refused as refused:
            if refused.status != 409:  # another task was faster
                raise EngineLost(
                    f"Docker could not make the network {NETWORK}: {refused}",
                    task=spec.task,
                    hint="docker network prune, if all its addresses are in use",
                ) from None


def resolv_conf() -> str:
    """Return a resolv.conf with the name servers of this machine that a container can reach."""
    texts = []
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        try:
            texts.append(Path(path).read_text(encoding="utf-8"))
        except OSError:
            texts.append("")
    return name_servers(*texts)


def ask_for_nothing(body: dict[str, Any]) -> None:
    """Change Docker's request: no network at the start, this machine's name servers, and a worker that waits."""
    text, host = resolv_conf(), body["HostConfig"]
    host["NetworkMode"] = "none"
    host["Dns"] = re.findall(r"^nameserver\s+(\S+)", text, re.MULTILINE)
    host["DnsSearch"] = [name for line in re.findall(r"^search\s+(.*)", text, re.MULTILINE) for name in line.split()]
    host["DnsOptions"] = [name for line in re.findall(r"^options\s+(.*)", text, re.MULTILINE) for name in line.split()]
    host["ExtraHosts"] = [f"{body['Hostname']}:127.0.0.1"]
    body["Cmd"] = [*body["Cmd"], "--await-network"]


def connect(spec: TaskSpec, pid: int, container: str, bridge: Bridge) -> None:
    """Connect the container with the first process `pid`. Raise EngineLost if that process is not of this machine."""
    fence = Fence.here(resolv_conf())
    try:
        with namespace_of(pid, container) as namespace:
            in_thread(lambda: plug_into(namespace, bridge, fence))
    except OSError as error:
        if not Path(f"/proc/{pid}").exists():
            return  # the container has ended already, and its end is reported
        raise EngineLost(f"task `{spec.task}` could not be connected: {error}", task=spec.task) from None


@contextlib.contextmanager
def namespace_of(pid: int, container: str) -> Any:
    """Give the network namespace of a container's process, which must be a process of this machine."""
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if container not in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"):
            raise OSError(f"process {pid} of this machine is not the container {container[:12]}")
        yield namespace
    finally:
        os.close(namespace)


def in_thread(work: Callable[[], object]) -> None:
    """Run `work` in a new thread that then ends, so that no other work happens in the namespaces it enters."""
    failed: list[BaseException] = []

    def do() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=do, name="flyte-images-way-out")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
