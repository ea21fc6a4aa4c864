"""Log: the lines that a task printed. A log is bounded: it keeps the beginning and the end, and counts the rest."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .engine import Stream

_HEAD = 1 << 20  # characters
_TAIL = 8 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """One line without the newline, and its stream."""

    stream: Stream
    text: str

    def __str__(self) -> str:
        return self.text


class Log:
    """The lines of a task in the order in which they arrived.

    >>> log = Log()
    >>> log.add("stdout", "epoch 1")
    >>> log.add("stderr", "careful")
    >>> log.text
    'epoch 1\\ncareful'
    >>> log.stderr
    'careful'
    """

    def __init__(self, head: int = _HEAD, tail: int = _TAIL) -> None:
        self._head: list[Line] = []
        self._tail: collections.deque[Line] = collections.deque()
        self._room = head
        self._tail_room = tail
        self.left_out = 0

    def add(self, stream: Stream, text: str) -> None:
        """Add a line. In a full log the oldest line after the beginning is dropped."""
        if text.endswith("\r"):  # the state of a line before its end (line_splitter.py)
            return
        cost = len(text) + 1
        if not self._tail and cost <= self._room:
            self._head.append(Line(stream, text))
            self._room -= cost
            return
        self._tail.append(Line(stream, text))
        self._tail_room -= cost
        while self._tail_room < 0 and len(self._tail) > 1:
            self._tail_room += len(self._tail.popleft().text) + 1
            self.left_out += 1

    def __iter__(self) -> Iterator[Line]:
        yield from self._head
        if self.left_out:
            yield Line("stderr", f"... {self.left_out} lines left out ...")
        yield from self._tail

    def __len__(self) -> int:
        return len(self._head) + len(self._tail)

    def __str__(self) -> str:
        return self.text

    @property
    def text(self) -> str:
        """The lines of both streams, in the order in which they arrived."""
        return "\n".join(line.text for line in self)

    @property
    def stdout(self) -> str:
        """The lines of stdout."""
        return "\n".join(line.text for line in self if line.stream == "stdout")

    @property
    def stderr(self) -> str:
        """The lines of stderr."""
        return "\n".join(line.text for line in self if line.stream == "stderr")
