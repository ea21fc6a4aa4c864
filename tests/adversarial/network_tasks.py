"""What the trials of the network run in containers."""

from __future__ import annotations

import errno
import os
import socket

import flyte_images as flyte

env = flyte.TaskEnvironment(name="network", limits=flyte.Resources(cpu="1", memory="128Mi"), network="none")
FAR = ["169.254.169.254", "192.0.2.2", "172.17.0.1", "fe80::1", "fd00:ec2::254"]
AT_ONCE = {"ENETUNREACH", "EHOSTUNREACH", "EINVAL", "EADDRNOTAVAIL"}


@env.task
def through_the_proxy(asked: list[str]) -> list[str]:
    """Ask the proxy for each `HOST:PORT`; what it, or else the server behind it, answers."""
    host, _, port = os.environ["HTTPS_PROXY"].removeprefix("http://").partition(":")
    found = []
    for one in asked:
        with socket.create_connection((host, int(port)), timeout=20) as link:
            link.sendall(f"CONNECT {one} HTTP/1.1\r\n\r\n".encode())
            answer = link.recv(4096)
            if answer.startswith(b"HTTP/1.1 200"):
                link.sendall(b"GET / HTTP/1.0\r\n\r\n")
                while part := link.recv(4096):
                    answer += part
        found.append(answer.decode())
    return found


@env.task
def past_the_proxy(hosts: list[str], port: int) -> dict[str, str]:
    """Connect to each host as a program does that knows no proxy; how each attempt ends."""
    return {host: attempt(host, port) for host in hosts}


def attempt(host: str, port: int, device: str = "") -> str:
    """`reached`, or the name of the error."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as link:
            link.settimeout(2)
            if device:
                link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            link.connect((host, port))
            return "reached"
    except TimeoutError:
        return "ETIMEDOUT"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
