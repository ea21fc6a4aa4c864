"""The last lines of a step's log, for the error that will want to show them."""

from __future__ import annotations

from collections import deque

_LINES = 40
_LONGEST = 4096  # bytes of a line; of a longer one the end is kept


class Tail:
    """The last forty lines, in the order of their ends. What two streams write at once stays two lines.

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
        """`data` as it came: pieces of lines, or many at once."""
        *whole, rest = (self._pending.get(stream, b"") + data).split(b"\n")
        self._ended.extend(whole[-_LINES:])
        self._pending[stream] = rest[-_LONGEST:]

    def text(self) -> str:
        """The lines, unended ones last. A line that a carriage return overwrites shows its last state."""
        lines = [*self._ended, *filter(None, self._pending.values())]
        last = [line[-_LONGEST:].rstrip(b"\r").rsplit(b"\r", 1)[-1].decode("utf-8", "replace") for line in lines]
        return "\n".join(last[-_LINES:])
