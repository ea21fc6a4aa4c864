"""Whole lines on a stream, and on a terminal one more below them, which is drawn again and again and never stays."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

from flyte_images_runtime.portable.visible import visible

from .lines import Writer, clipped

_CLEAR = "\r\x1b[K"
_WIDTH = 80  # columns, where the terminal does not tell


class Below:
    """`print` for lines, `show` for the one below them. From any threads; no stream, however broken, raises."""

    def __init__(self, stream: TextIO, *, live: bool, colour: bool = False) -> None:
        self._out = Writer(stream)
        self._live = live
        self._colour = colour
        self._shown = ""
        self._lock = threading.RLock()

    def print(self, text: str) -> None:
        """A line that stays. Whatever it holds, the terminal obeys nothing of it."""
        text = visible(text)
        with self._lock:
            if self._shown:
                self._out.write(f"{_CLEAR}{text}\n{self._drawn()}")
            else:
                self._out.line(text)

    def show(self, text: str) -> None:
        """The line below all others from now on; none, if it is empty."""
        if not self._live:
            return
        with self._lock:
            before, self._shown = self._shown, clipped(visible(text), self._width() - 1)
            if before or self._shown:
                self._out.write(_CLEAR + self._drawn())

    def close(self) -> None:
        """Leave nothing below."""
        self.show("")

    def _drawn(self) -> str:
        # back to its beginning: what anybody else writes now stands over it, not behind it
        text = f"\x1b[2m{self._shown}\x1b[0m" if self._colour else self._shown
        return f"{text}\r" if self._shown else ""

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._out.stream.fileno()).columns or _WIDTH
        except (OSError, ValueError):
            return _WIDTH


_open: list[Below] = []


@contextlib.contextmanager
def open_below(below: Below) -> Iterator[Below]:
    """From now on `say` prints above its line; it is gone at the end."""
    _open.append(below)
    try:
        yield below
    finally:
        _open.remove(below)
        below.close()


def say(text: str) -> None:
    """A line to stderr, above the line that is drawn there, if one is."""
    if _open:
        _open[-1].print(text)
    else:
        print(visible(text), file=sys.stderr, flush=True)
