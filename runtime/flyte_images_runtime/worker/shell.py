"""A shell or a command in the task's place: with the caller's streams, or on a terminal that is the container's own.

The terminal is made here, where programs can ask for its name; its other end goes to the caller, who reads and writes
it directly. What it shows passes nothing else on its way.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import shutil
import signal
import socket
import struct
import sys
import termios
from typing import Any

from flyte_images_runtime.worker import paths as places

_SHELLS = ("bash", "sh")


def main(call: dict[str, Any]) -> int:
    asked = call["shell"]
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.connect(places.IN + "/" + places.SHELL)
    streams = _terminal(link, asked["size"]) if asked["terminal"] else _streams(link)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in set(streams):
        if stream > 2:
            os.close(stream)
    link.close()
    os.environ.update(asked["env"])
    paths = [*call["paths"], *filter(None, [os.environ.get("PYTHONPATH")])]
    if paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what it starts would too
        signal.signal(number, signal.SIG_DFL)
    return _become(asked["command"] or _shell())


def _terminal(link: Any, size: list[int]) -> list[int]:
    """A new terminal of that many rows and columns, this process's own: three times its near end."""
    far, near = os.openpty()
    fcntl.ioctl(near, termios.TIOCSWINSZ, struct.pack("HHHH", size[0], size[1], 0, 0))
    link.sendmsg([b"t"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [far]))])
    os.close(far)
    os.setsid()
    fcntl.ioctl(near, termios.TIOCSCTTY, 0)
    return [near, near, near]


def _streams(link: Any) -> list[int]:
    """The caller's three."""
    found = array.array("i")
    link.sendall(b"s")
    _, ancillary, _, _ = link.recvmsg(1, socket.CMSG_SPACE(3 * found.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    if len(found) != 3:
        sys.exit(places.ABANDONED)
    return [fcntl.fcntl(number, fcntl.F_DUPFD, 10) for number in found]  # none of them is in another one's place


def _shell() -> list[str]:
    """The best shell of the image."""
    name = next((name for name in _SHELLS if shutil.which(name)), "sh")
    return [name, "--rcfile", places.IN + "/" + places.SHELL_RC] if name == "bash" and os.isatty(0) else [name]


def _become(command: list[str]) -> int:
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write("`%s` cannot be run in this image: %s\n" % (command[0], os.strerror(error.errno or 0)))
        return 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
