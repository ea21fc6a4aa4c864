"""The network of a task with `network=[...]`: a proxy of the caller's that listens on this container's loopback.

The container has no other network. This process makes the listening socket and sends it to the caller, who accepts the
connections; no process of the proxy runs in the container.
"""

from __future__ import annotations

import os
import sys
import time

try:  # the start of a task imports as little as possible
    import _socket as socket
except ImportError:
    import socket  # type: ignore[no-redef]

from flyte_images_runtime.worker import paths


def wait_for_network() -> None:
    """Wait until this container is connected to its network: the default route is set last."""
    for _ in range(10_000):
        with open("/proc/net/route") as file:
            if any(line.split()[1] == "00000000" for line in file):
                return
        time.sleep(0.002)
    raise OSError("the container was not connected to a network")


def open_proxy() -> None:
    """Send a listening socket to the caller and set the variables by which programs find a proxy."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.connect(paths.IN + "/" + paths.PROXY)
    number = listener.fileno().to_bytes(4, sys.byteorder)
    link.sendmsg([b"l"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, number)])
    if not link.recv(1):
        raise OSError("the caller's process does not take connections")
    address = "http://127.0.0.1:%d" % listener.getsockname()[1]
    link.close()
    listener.close()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        os.environ[name] = os.environ[name.lower()] = address
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1,::1"
