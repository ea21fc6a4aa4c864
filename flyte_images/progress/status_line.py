"""Print whole lines, and on a terminal one live line below them that is redrawn and never stays."""

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
_WIDTH = 80  # columns, if the terminal does not report its width


class StatusLine:
    """`print` prints lines, `show` replaces the live line. Callable from any thread; broken streams raise nothing."""

    def __init__(self, stream: TextIO, *, live: bool, color: bool = False) -> None:
        self._out = Writer(stream)
        self._live = live
        self._color = color
        self._shown = ""
        self._lock = threading.RLock()

    def print(self, text: str) -> None:
        """Print a line that stays, with escape sequences made visible."""
        text = visible(text)
        with self._lock:
            if self._shown:
                self._out.write(f"{_CLEAR}{text}\n{self._drawn()}")
            else:
                self._out.line(text)

    def show(self, text: str) -> None:
        """Show the live line below all others. An empty text removes it."""
        if not self._live:
            return
        with self._lock:
            before, self._shown = self._shown, clipped(visible(text), self._width() - 1)
            if before or self._shown:
                self._out.write(_CLEAR + self._drawn())

    def close(self) -> None:
        """Remove the live line."""
        self.show("")

    def _drawn(self) -> str:
        # the cursor returns to the line's beginning, so that other programs write over it, not after it
        text = f"\x1b[2m{self._shown}\x1b[0m" if self._color else self._shown
        return f"{text}\r" if self._shown else ""

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._out.stream.fileno()).columns or _WIDTH
        except (OSError, ValueError):
            return _WIDTH


_open: list[StatusLine] = []


@contextlib.contextmanager
def open_status_line(line: StatusLine) -> Iterator[StatusLine]:
    """Make `say` print above this status line until the end, then remove the line."""
    _open.append(line)
    try:
        yield line
    finally:
        _open.remove(line)
        line.close()


def say(text: str) -> None:
    """Print a line to stderr, above the live line if there is one."""
    if _open:
        _open[-1].print(text)
    else:
        print(visible(text), file=sys.stderr, flush=True)
