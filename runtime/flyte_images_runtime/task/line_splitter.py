"""Bytes of a stream, as they arrive -> lines of text.

A line that carriage returns overwrite, as progress bars do, counts with its last state. Before the line's end its state
is passed on now and then, as a text that ends with a carriage return; a line never does.
"""

from __future__ import annotations

import codecs
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .engine import OnLine, Stream

_LONGEST = 1 << 16  # characters; a longer line is passed on in parts
_INTERVAL = 0.5  # seconds between two states of a line that are passed on


class LinePart(str):
    """The beginning or a middle part of a line that is too long for one piece: the line goes on."""

    __slots__ = ()


class LineSplitter:
    """Splits one stream into lines and passes them on, the last one also without a newline."""

    def __init__(self, stream: Stream, on_line: OnLine) -> None:
        self._stream = stream
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = ""
        self._passed_on = float("-inf")
        self._parted = False

    def feed(self, content: bytes) -> None:
        """Take the next bytes."""
        *whole, self._open = (self._open + self._decoder.decode(content)).split("\n")
        for line in whole:
            self._on_line(self._stream, line.rstrip("\r").rpartition("\r")[2])
            self._parted = False
        self._overwrite()
        while len(self._open) > _LONGEST:
            self._on_line(self._stream, LinePart(self._open[:_LONGEST]))
            self._parted = True
            self._open = self._open[_LONGEST:]

    def _overwrite(self) -> None:
        at = self._open.rfind("\r", 0, -1)  # the last character may be the first half of `\r\n`
        if at < 0:
            return
        self._open = self._open[at + 1 :]
        state = self._open.rstrip("\r")
        now = time.monotonic()
        if state and now - self._passed_on >= _INTERVAL:
            self._passed_on = now
            self._on_line(self._stream, f"{state}\r")

    def finish(self) -> None:
        """Pass on the last line, at the end of the stream."""
        last = (self._open + self._decoder.decode(b"", final=True)).rstrip("\r")
        self._open = ""
        if last or self._parted:
            self._on_line(self._stream, last)
