"""Bytes of a stream, as they come -> lines of text.

A line that carriage returns overwrite, as progress bars do, is its last state. Before its end what it shows is told now
and then, as a text that ends with a carriage return, which no line does.
"""

from __future__ import annotations

import codecs
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .engine import OnLine, Stream

_LONGEST = 1 << 16  # characters; a longer line is passed on in parts
_EVERY = 0.5  # seconds between two states of a line that are told


class Part(str):
    """A part of a line that is too long to be passed on as a whole: the line goes on."""

    __slots__ = ()


class Lines:
    """Cuts one stream into lines, and passes on the last one even without its end."""

    def __init__(self, stream: Stream, on_line: OnLine) -> None:
        self._stream = stream
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = ""
        self._told = float("-inf")
        self._parted = False

    def feed(self, content: bytes) -> None:
        """Take the next bytes."""
        *whole, self._open = (self._open + self._decoder.decode(content)).split("\n")
        for line in whole:
            self._on_line(self._stream, line.rstrip("\r").rpartition("\r")[2])
            self._parted = False
        self._overwrite()
        while len(self._open) > _LONGEST:
            self._on_line(self._stream, Part(self._open[:_LONGEST]))
            self._parted = True
            self._open = self._open[_LONGEST:]

    def _overwrite(self) -> None:
        at = self._open.rfind("\r", 0, -1)  # the last character may be half of the line's end
        if at < 0:
            return
        self._open = self._open[at + 1 :]
        shown = self._open.rstrip("\r")
        now = time.monotonic()
        if shown and now - self._told >= _EVERY:
            self._told = now
            self._on_line(self._stream, f"{shown}\r")

    def finish(self) -> None:
        """The stream has ended."""
        rest = (self._open + self._decoder.decode(b"", final=True)).rstrip("\r")
        self._open = ""
        if rest or self._parted:
            self._on_line(self._stream, rest)
