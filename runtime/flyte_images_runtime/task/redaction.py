"""Takes the values of secrets out of what a task says: lines as they come, errors, tracebacks. Results stay.

It protects from accidents. A task that wants to pass on its secret can: in another encoding, or a character a line.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from .line_splitter import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .engine import OnLine, Stream

MASK = "***"
_SHORTEST = 4  # characters of what is looked for: fewer are part of everything
_WRAPPED = (76, 64)  # columns of base64 in lines: MIME's and PEM's
_SHORTEST_PIECE = 8


class Redactor:
    """Replaces each line of each value, and each value's base64 form wherever it begins in what is encoded.

    >>> Redactor(["sesame"])("open sesame!")
    'open ***!'
    >>> Redactor(["sesame-9"])(base64.b64encode(b"user:sesame-9").decode())
    'dXNlcjp***Q=='
    """

    def __init__(self, values: Iterable[str]) -> None:
        words = {word for value in values for word in _forms(value) if len(word) >= _SHORTEST}
        self._words = sorted(words, key=lambda word: (-len(word), word))
        self._longest = len(self._words[0]) if words else 0

    def __bool__(self) -> bool:
        return bool(self._words)

    def __call__(self, text: str) -> str:
        """The text without the values."""
        for word in self._words:
            if word in text:
                text = text.replace(word, MASK)
        return text

    def document(self, said: Any) -> Any:
        """A JSON document with each of its texts so."""
        if isinstance(said, str):
            return self(said)
        if isinstance(said, list):
            return [self.document(each) for each in said]
        if isinstance(said, dict):
            return {key: self.document(value) for key, value in said.items()}
        return said

    def lines(self, on_line: OnLine) -> OnLine:
        """Pass on one task's lines without the values, also where a long line comes in parts."""
        if not self:
            return on_line
        held: dict[str, str] = {}

        def pass_on(stream: Stream, text: str) -> None:
            whole = text if text.endswith("\r") else held.pop(stream, "") + text
            if isinstance(text, Part):
                at = self._cut(whole)
                held[stream] = whole[at:]
                on_line(stream, Part(self(whole[:at])))
            else:
                on_line(stream, self(whole))

        return pass_on

    def _cut(self, text: str) -> int:
        """Where to cut a text that goes on: no value lies across it, and none can begin before it and end later."""
        at = max(0, len(text) - self._longest + 1)
        moved = True
        while moved:
            moved = False
            for word in self._words:
                found = text.find(word, max(0, at - len(word) + 1), at + len(word) - 1)
                if 0 <= found < at:
                    at, moved = found, True
        return at


NO_SECRETS = Redactor(())


@functools.lru_cache(maxsize=64)
def redactor_of(values: tuple[str, ...]) -> Redactor:
    """The redactor for those values: made once, as a short call should not pay for it."""
    return Redactor(values)


def _forms(value: str) -> Iterator[str]:
    """How a value can stand in a text: its lines as they are, as Python, JSON and addresses write them; base64."""
    for line in value.splitlines():
        yield from (line, line.strip(), repr(line)[1:-1], json.dumps(line)[1:-1], quote(line, safe=""))
    if len(value) < _SHORTEST:
        return
    raw = value.encode("utf-8", "surrogateescape")
    yield base64.b64encode(raw).decode()
    for text in (raw, raw.strip()):
        for shift in range(3):
            encoded = _inner_base64(text, shift)
            yield encoded
            yield encoded.replace("+", "-").replace("/", "_")
    whole = _inner_base64(raw, 0)
    for width in _WRAPPED:
        pieces = (whole[at : at + width] for at in range(0, len(whole), width))
        yield from (piece for piece in pieces if len(whole) > width and len(piece) >= _SHORTEST_PIECE)


def _inner_base64(raw: bytes, shift: int) -> str:
    """The characters of the base64 form that `raw` alone decides, where it stands `shift` bytes behind a multiple of 3.

    >>> _inner_base64(b"abc", 0), _inner_base64(b"abc", 1)
    ('YWJj', 'FiY')
    """
    encoded = base64.b64encode(b"\0" * shift + raw).decode()
    return encoded[(0, 2, 3)[shift] : (len(raw) + shift) * 8 // 6]
