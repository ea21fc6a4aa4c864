"""The last lines of a step's log, for the error of a failed step."""

from __future__ import annotations

from collections import deque

_LINES = 40
_LONGEST = 4096  # bytes of a line; only the end of a longer line is kept


class Tail:
    """The last forty lines, in the order in which they end. Lines of two streams are never mixed.

    >>> tail = Tail()
    >>> tail.feed(2, b"sh: 1: "), tail.feed(1, b"a\\n"), tail.feed(2, b"ech: not found\\n")
    (None, None, None)
    >>> tail.text()
    'a\\nsh: 1: ech: not found'
    """

    def __init__(self) -> None:
        self._ended: deque[bytes] = deque(maxlen=_LINES)
        self._pending: dict[int, bytes] = {}

    def feed(self, stream: int, data: bytes) -> None:
        """Add output of a stream: a part of a line, or several lines."""
        *whole, pending = (self._pending.get(stream, b"") + data).split(b"\n")
        self._ended.extend(whole[-_LINES:])
        self._pending[stream] = pending[-_LONGEST:]

    def text(self) -> str:
        """Return the lines; unfinished lines are last. A line with carriage returns shows its last state."""
        lines = [*self._ended, *filter(None, self._pending.values())]
        last = [line[-_LONGEST:].rstrip(b"\r").rsplit(b"\r", 1)[-1].decode("utf-8", "replace") for line in lines]
        return "\n".join(last[-_LINES:])
