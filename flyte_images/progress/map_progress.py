"""Show the progress of many calls of one task: one live line on a terminal, plain or JSON lines elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TextIO

from . import Mode, chosen_mode
from .status_line import StatusLine
from .terminal_text import clean, duration

_EVERY = {"tty": 0.1, "plain": 5.0, "json": 1.0}  # seconds between two lines
_BAR = 10


class MapProgress:
    """The progress of one map. Shows nothing until the first call ends; until then the build is shown.

    `update` is called after each call; `below` is the status line to draw on.
    """

    def __init__(
        self, task: str, total: int, mode: Mode, stream: TextIO, *, env: Mapping[str, str] | None = None
    ) -> None:
        env = os.environ if env is None else env
        self.mode = chosen_mode(mode, stream, env)
        self.below = StatusLine(stream, live=self.mode == "tty", color=not env.get("NO_COLOR"))
        self._task = clean(task)
        self._total = total
        self._began = self._last = time.monotonic()

    def update(self, done: int, failed: int, running: int, waiting: int) -> None:
        """Show the numbers of calls that succeeded, failed, run, and wait."""
        now = time.monotonic()
        over = not running and not waiting
        if self.mode == "quiet" or not done + failed or (not over and now - self._last < _EVERY[self.mode]):
            return
        self._last = now
        seconds = now - self._began
        if self.mode == "json":
            import json

            counts = {"done": done, "failed": failed, "running": running, "total": self._total}
            fields = {"event": "map", "task": self._task, **counts, "seconds": round(seconds, 3)}
            self.below.print(json.dumps(fields))
            return
        words = in_words(self._task, done, failed, running, self._total, seconds)
        if self.mode == "tty" and not over:
            self.below.show(f"{bar(done + failed, self._total)} {words}")
        else:
            self.below.show("")
            self.below.print(words)


def in_words(task: str, done: int, failed: int, running: int, total: int, seconds: float) -> str:
    """Return the progress in words, with an estimate of the remaining time while calls run.

    >>> in_words("ml.train", 12, 1, 4, 100, 6.5)
    'ml.train: 12 of 100 done, 1 failed, 4 running, 6.5 s, ~43.5 s left'
    >>> in_words("ml.train", 100, 0, 0, 100, 50.0)
    'ml.train: 100 of 100 done in 50.0 s'
    >>> in_words("ml.train", 10, 1, 0, 100, 5.0)
    'ml.train: 10 of 100 done, 1 failed in 5.0 s'
    """
    parts = [f"{done} of {total} done", *([f"{failed} failed"] if failed else [])]
    if not running:
        return f"{task}: {', '.join(parts)} in {duration(seconds)}"
    ended = done + failed
    parts += [f"{running} running", duration(seconds), f"~{duration(seconds / ended * (total - ended))} left"]
    return f"{task}: {', '.join(parts)}"


def bar(ended: int, total: int) -> str:
    """Return a bar of ten characters.

    >>> bar(5, 20)
    '[##--------]'
    """
    full = ended * _BAR // total
    return f"[{'#' * full}{'-' * (_BAR - full)}]"
