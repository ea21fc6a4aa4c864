"""End a task that leaves too much in its outputs, where these are not on a disk of a fixed size.

This is a bound for accidents: a task can write more between two measurements, and open files without a name do not
count.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

from ..errors import DiskFull
from ..resources.quantity import format_size
from ..task.disk import USUAL
from ..task.exchange import Exchange

_EVERY = 0.5  # seconds between two measurements
_MOST = 20_000  # files


class Watch:
    """Calls `end` when the outputs are too large. Use it as a context around the run of the task."""

    def __init__(self, exchange: Exchange, end: Callable[[], object]) -> None:
        self.exceeded = False
        self._places = (str(exchange.outputs), str(exchange.memory)) if exchange.disk is None else ()
        self._end = end
        self._over = threading.Event()

    def __enter__(self) -> Watch:
        if self._places:
            threading.Thread(target=self._look, daemon=True, name="flyte-images-watch").start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()

    def error(self, task: str) -> DiskFull:
        """Return the error of the ended task."""
        return DiskFull(
            f"task `{task}` was ended: it left more than {format_size(USUAL)}, or than {_MOST} files, in its outputs",
            task=task,
            hint="write large data to a mount",
        )

    def _look(self) -> None:
        while not self._over.wait(_EVERY):
            room, files = USUAL, _MOST
            for size in (size for place in self._places for size in _sizes(place)):
                room, files = room - size, files - 1
                if room < 0 or files < 0:
                    self.exceeded = True
                    self._end()
                    return


def _sizes(place: str) -> Iterator[int]:
    """Yield the bytes on disk of each file and directory below a directory, as far as they can be read."""
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                yield entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    yield from _sizes(entry.path)
