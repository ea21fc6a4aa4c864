"""Bytes of a stream, as they come -> lines of text."""

from __future__ import annotations

import codecs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .engine import OnLine, Stream

_LONGEST = 1 << 16  # characters; a longer line is passed on in parts


class Lines:
    """Cuts one stream into lines, and passes on the last one even without its end."""

    def __init__(self, stream: Stream, on_line: OnLine) -> None:
        self._stream = stream
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = ""

    def feed(self, content: bytes) -> None:
        """Take the next bytes."""
        *whole, self._open = (self._open + self._decoder.decode(content)).split("\n")
        for line in whole:
            self._on_line(self._stream, line.removesuffix("\r"))
        while len(self._open) > _LONGEST:
            self._on_line(self._stream, self._open[:_LONGEST])
            self._open = self._open[_LONGEST:]

    def finish(self) -> None:
        """The stream has ended."""
        rest = self._open + self._decoder.decode(b"", final=True)
        self._open = ""
        if rest:
            self._on_line(self._stream, rest)
