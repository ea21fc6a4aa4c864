"""The way out of a task that may reach some names alone: a proxy of the caller's, on this container's loopback.

The container has no other network. This process listens and hands the listening socket over, so the caller takes the
connections itself and nothing has to run in here.
"""

from __future__ import annotations

import os
import sys
import time

try:  # as little as possible is imported where a task starts
    import _socket as socket
except ImportError:
    import socket  # type: ignore[no-redef]

from flyte_images_runtime.worker import paths


def wait_for_it() -> None:
    """Wait until this container is connected: its default route comes last."""
    for _ in range(10_000):
        with open("/proc/net/route") as file:
            if any(line.split()[1] == "00000000" for line in file):
                return
        time.sleep(0.002)
    raise OSError("the container was not connected to a network")


def open_it() -> None:
    """Hand the socket over and set the variables by which programs find a proxy."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.connect(paths.IN + "/" + paths.PROXY)
    number = listener.fileno().to_bytes(4, sys.byteorder)
    door.sendmsg([b"l"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, number)])
    if not door.recv(1):
        raise OSError("the caller's process does not take connections")
    address = "http://127.0.0.1:%d" % listener.getsockname()[1]
    door.close()
    listener.close()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        os.environ[name] = os.environ[name.lower()] = address
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1,::1"
