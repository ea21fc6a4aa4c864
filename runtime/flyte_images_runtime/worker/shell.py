"""A shell or a command in place of the task: with the caller's streams, or on a terminal of the container.

The terminal is made in the container, where programs can look up its name; the other end goes to the caller, who reads
and writes it directly, with no process between.
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

from flyte_images_runtime.worker import paths

_SHELLS = ("bash", "sh")


def main(call: dict[str, Any]) -> int:
    """Replace this process by the command that `call` names, or by the image's best shell. Return if that fails."""
    request = call["shell"]
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.connect(paths.IN + "/" + paths.SHELL)
    streams = _terminal(link, request["size"]) if request["terminal"] else _streams(link)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in set(streams):
        if stream > 2:
            os.close(stream)
    link.close()
    os.environ.update(request["env"])
    search_path = [*call["paths"], *filter(None, [os.environ.get("PYTHONPATH")])]
    if search_path:
        os.environ["PYTHONPATH"] = os.pathsep.join(search_path)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these signals, and its children inherit that
        signal.signal(number, signal.SIG_DFL)
    return _become(request["command"] or _shell())


def _terminal(link: Any, size: list[int]) -> list[int]:
    """Make a terminal of `size` rows and columns that controls this process; return its near end as three streams."""
    far, near = os.openpty()
    fcntl.ioctl(near, termios.TIOCSWINSZ, struct.pack("HHHH", size[0], size[1], 0, 0))
    link.sendmsg([b"t"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [far]))])
    os.close(far)
    os.setsid()
    fcntl.ioctl(near, termios.TIOCSCTTY, 0)
    return [near, near, near]


def _streams(link: Any) -> list[int]:
    """Return the caller's stdin, stdout and stderr, received over `link`."""
    received = array.array("i")
    link.sendall(b"s")
    _, ancillary, _, _ = link.recvmsg(1, socket.CMSG_SPACE(3 * received.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(data[: len(data) - len(data) % received.itemsize])
    if len(received) != 3:
        sys.exit(paths.ABANDONED)
    return [fcntl.fcntl(number, fcntl.F_DUPFD, 10) for number in received]  # numbers that dup2() will not overwrite


def _shell() -> list[str]:
    """Return the command line of the best shell of the image."""
    name = next((name for name in _SHELLS if shutil.which(name)), "sh")
    return [name, "--rcfile", paths.IN + "/" + paths.SHELL_RC] if name == "bash" and os.isatty(0) else [name]


def _become(command: list[str]) -> int:
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write("`%s` cannot be run in this image: %s\n" % (command[0], os.strerror(error.errno or 0)))
        return 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
