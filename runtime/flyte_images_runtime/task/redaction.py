"""Remove the values of secrets from a task's lines, errors and tracebacks. Results are not changed.

This protects from accidents only: a task that wants to print a secret can use another encoding, or one character a
line.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from .line_splitter import LinePart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .engine import OnLine, Stream

MASK = "***"
_SHORTEST = 4  # characters of a value that is replaced: shorter ones occur everywhere
_WRAPPED = (76, 64)  # columns of base64 in lines: MIME, PEM
_SHORTEST_PIECE = 8


class Redactor:
    """Replaces each line of each value, and each value's base64 form, also in the middle of an encoded text.

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
        """Return the text without the values."""
        for word in self._words:
            if word in text:
                text = text.replace(word, MASK)
        return text

    def document(self, value: Any) -> Any:
        """Return a JSON document without the values in its texts."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, list):
            return [self.document(item) for item in value]
        if isinstance(value, dict):
            return {key: self.document(item) for key, item in value.items()}
        return value

    def lines(self, on_line: OnLine) -> OnLine:
        """Return a function that passes on one task's lines without the values, also where a line arrives in parts."""
        if not self:
            return on_line
        held: dict[str, str] = {}

        def pass_on(stream: Stream, text: str) -> None:
            whole = text if text.endswith("\r") else held.pop(stream, "") + text
            if isinstance(text, LinePart):
                at = self._cut(whole)
                held[stream] = whole[at:]
                on_line(stream, LinePart(self(whole[:at])))
            else:
                on_line(stream, self(whole))

        return pass_on

    def _cut(self, text: str) -> int:
        """Return where to cut a text that goes on, so that no value crosses the cut or can begin before it."""
        at = max(0, len(text) - self._longest + 1)
        moved = True
        while moved:
            moved = False
            for word in self._words:
                start = text.find(word, max(0, at - len(word) + 1), at + len(word) - 1)
                if 0 <= start < at:
                    at, moved = start, True
        return at


NO_SECRETS = Redactor(())


@functools.lru_cache(maxsize=64)
def redactor_of(values: tuple[str, ...]) -> Redactor:
    """Return the redactor of these values. It is cached, since a short call must not pay for making it."""
    return Redactor(values)


def _forms(value: str) -> Iterator[str]:
    """Yield the forms of a value in a text: its lines, plain and escaped as in Python, JSON and URLs; base64."""
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
    """Return the base64 characters that `raw` alone decides, `shift` bytes after a multiple of 3 in the encoded text.

    >>> _inner_base64(b"abc", 0), _inner_base64(b"abc", 1)
    ('YWJj', 'FiY')
    """
    encoded = base64.b64encode(b"\0" * shift + raw).decode()
    return encoded[(0, 2, 3)[shift] : (len(raw) + shift) * 8 // 6]
