"""What a call is compared with, where that is no program of its own: done here as directly as it can be."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_ECHO = "import socket, sys\nlink = socket.socket(fileno=3)\nwhile data := link.recv(100): link.sendall(data)"
_FORK = """
import os, sys
while os.read(0, 1):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.wait()
    os.write(1, b".")
"""
_forker: list[subprocess.Popen[bytes]] = []


@contextlib.contextmanager
def echo() -> Iterator[Callable[[], object]]:
    """A round trip to another process over a unix socket."""
    ours, theirs = socket.socketpair()
    code = _ECHO.replace("fileno=3", f"fileno={theirs.fileno()}")
    other = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], pass_fds=(theirs.fileno(),))
    theirs.close()

    def trip() -> None:
        ours.sendall(b".")
        ours.recv(100)

    try:
        yield trip
    finally:
        ours.close()
        other.wait()
        end()


def fork() -> None:
    """A fork of a Python that has loaded nothing, and its end."""
    if not _forker:
        argv = [sys.executable, "-I", "-S", "-c", _FORK]
        _forker.append(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0))
    assert _forker[0].stdin is not None
    assert _forker[0].stdout is not None
    _forker[0].stdin.write(b".")
    _forker[0].stdout.read(1)


def end() -> None:
    """End what `fork` needs."""
    while _forker:
        _forker.pop().communicate()


@contextlib.contextmanager
def in_memory(array: Any) -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """Save the array as a file in memory; map that file and read from each of its pages."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm", suffix=".npy") as file:

        def save() -> None:
            with open(file.name, "wb") as target:
                np.save(target, array)

        def map_it() -> None:
            mapped = np.load(file.name, mmap_mode="c")
            mapped[:: os.sysconf("SC_PAGE_SIZE")].sum()

        yield save, map_it
