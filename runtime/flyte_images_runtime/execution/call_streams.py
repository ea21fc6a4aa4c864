"""What a warm container sends: the output of its calls in two pipes, and their answers as messages on a socket."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from typing import Any

from ..task.engine import OnLine, Stream
from ..task.line_splitter import LineSplitter
from ..values import Problem
from ..values.budget import Budget


def split_answers(arrived: bytearray, budget: Budget) -> list[Any] | None:
    """Return the answer of a fork and the report of its end, once both have arrived completely; {} for an empty one."""
    texts: list[bytes] = []
    at = 0
    while len(texts) < 2:
        length = int.from_bytes(arrived[at : at + 4], "big")
        if length > budget.longest:
            raise Problem(f"a message of {length} bytes is too long", hint="return a table, an array or a File")
        if len(arrived) < at + 4 + length:
            return None
        texts.append(bytes(arrived[at + 4 : at + 4 + length]))
        at += 4 + length
    del arrived[:at]
    return [budget.loads(text) if text else {} for text in texts]


class CallStreams:
    """Stdout and stderr of all calls of a container: two pipes, whose write ends the container gets."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link.fileno()
        pipes = (os.pipe(), os.pipe())
        self._ends: list[int] = [reader for reader, _ in pipes]
        for end in self._ends:
            os.set_blocking(end, False)
        try:
            with contextlib.suppress(OSError):  # the container is gone, which the first call finds out
                socket.send_fds(link, [b"c"], [writer for _, writer in pipes])
        finally:
            for _, writer in pipes:
                os.close(writer)
        self._poll = select.poll()
        for each in (*self._ends, self._link):
            self._poll.register(each, select.POLLIN)
        self._lines: dict[int, LineSplitter] = {}

    def begin(self, on_line: OnLine) -> None:
        """Attribute further output to another call."""
        names: tuple[Stream, Stream] = ("stdout", "stderr")
        self._lines = {end: LineSplitter(name, on_line) for end, name in zip(self._ends, names, strict=True)}

    def pass_on(self, deadline: float | None) -> bool:
        """Pass on output. Return True when the container has sent a message, False when the time is over."""
        while True:
            ready = self._poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                return False
            for each, _ in ready:
                if each != self._link and self._pass_on(each) == b"":  # all write ends are closed
                    self._poll.unregister(each)
            if any(each == self._link for each, _ in ready):
                return True

    def finish(self) -> None:
        """Pass on the rest of the output: the call and all its processes have ended."""
        for end, lines in self._lines.items():
            while self._pass_on(end):
                pass
            lines.finish()

    def _pass_on(self, end: int) -> bytes | None:
        try:
            arrived = os.read(end, 1 << 16)
        except BlockingIOError:
            return None
        if arrived:
            self._lines[end].feed(arrived)
        return arrived

    def close(self) -> None:
        while self._ends:
            os.close(self._ends.pop())
