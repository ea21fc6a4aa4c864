"""What tasks print and use -> lines: on a terminal below them one that moves, elsewhere a plain one now and then.

    with Tasks("auto", sys.stderr, main="ml.train", limit=...) as shown:
        flyte.run.using(on_line=shown.line, on_usage=shown.usage)(train)

For programs each line is a JSON object with `event`, as those of builds are (lines.py); these fields stay as they are:

output     task, stream (stdout | stderr), text
state      task, stream, text: what a line shows that overwrites itself; every two seconds
usage      task, run, seconds, usage (cpu, memory, throttled, ...: what is known); every two seconds
traceback  task, text
task       task, run, metrics: the last line of a run that ended well
map        task, done, failed, running, total, seconds (counting.py)
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from . import Mode, chosen_mode
from .status_line import Below, open_below
from .terminal_text import clean, duration, last_state, size

if TYPE_CHECKING:
    from flyte_images_runtime.resources.metrics import Usage

_PLAIN_FIRST = 30.0  # seconds after which a log is told that the task still runs
_PLAIN_EVERY = 60.0
_JSON_EVERY = 2.0
_STATE_EVERY: dict[Mode, float] = {"plain": 15.0, "json": 2.0}


@dataclass(slots=True)
class _Running:
    """One task that runs: since when, what it had used when it was last looked at, when it is to be told of again."""

    task: str
    began: float
    looked: float
    cpu: float = 0.0
    due: float = 0.0
    says: str = ""


class Tasks:
    """The display of one command that runs tasks. `main` is the task that it is about; the others bear their names."""

    def __init__(
        self,
        mode: Mode,
        stream: TextIO,
        *,
        main: str,
        limit: Callable[[str], int | None] = lambda task: None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        env = os.environ if env is None else env
        self.mode = chosen_mode(mode, stream, env)
        self._main = main
        self._limit = limit
        self._below = Below(stream, live=self.mode == "tty", colour=not env.get("NO_COLOR"))
        self._running: dict[str, _Running] = {}
        self._states: dict[tuple[str, str], str] = {}
        self._due = 0.0
        self._lock = threading.Lock()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(open_below(self._below))
        self._below.show(f"{self._main}: starting")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def tell(self, words: str, event: str, /, **fields: object) -> None:
        """A line that stays: words, or an event where a program reads it."""
        if self.mode == "json":
            import json

            words = json.dumps({"event": event, **fields})
        self._below.print(words)

    def line(self, task: str, stream: str, text: str) -> None:
        """What a task has printed."""
        with self._lock:
            if self._states.pop((task, stream), None) is not None:
                self._below.show(self._summary())
        self._print(task, stream, text, "output")

    def watching(self, follow: bool) -> dict[str, object]:
        """What a runner is given: everything that is printed, or nothing."""
        return {"on_line": self.line, "on_state": self.state} if follow else {"on_line": None}

    def state(self, task: str, stream: str, text: str) -> None:
        """What a line shows that overwrites itself: a progress bar."""
        now = time.monotonic()
        with self._lock:
            self._states.pop((task, stream), None)
            if not text.strip():  # the bar has been wiped away
                return
            self._states[task, stream] = text
            self._below.show(self._summary())
            if self.mode in _STATE_EVERY and now >= self._due:
                self._due = now + _STATE_EVERY[self.mode]
                self._print(task, stream, text, "state")

    def _print(self, task: str, stream: str, text: str, event: str) -> None:
        shown = last_state(text)
        named = shown if task == self._main else f"[{task}] {shown}"
        self.tell(named, event, task=task, stream=stream, text=text)

    def usage(self, task: str, run: str, usage: Usage | None) -> None:
        """What a task has used until now; None: it has ended."""
        now = time.monotonic()
        with self._lock:
            if usage is None:
                self._running.pop(run, None)
                self._states = {key: text for key, text in self._states.items() if key[0] != task}
                self._below.show(self._summary())
                return
            one = self._running.get(run) or _Running(task, now, now, due=now + _PLAIN_FIRST)
            self._running[run] = one
            one.says = in_words(usage, seconds=now - one.began, busy=_busy(one, usage, now), limit=self._limit(task))
            one.looked, one.cpu = now, usage.cpu or 0.0
            if self.mode == "json" and now >= one.due - _PLAIN_FIRST:
                one.due = now + _PLAIN_FIRST + _JSON_EVERY
                self.tell("", "usage", task=task, run=run, seconds=round(now - one.began, 3), usage=_data(usage))
            elif self.mode == "plain" and now >= one.due:
                one.due = now + _PLAIN_EVERY
                self.tell(f"{task}: runs for {one.says}", "usage")
            self._below.show(self._summary())

    def _summary(self) -> str:
        """What lines show that overwrite themselves, then the first task that began, and how many others there are."""
        parts = [clean(text) for text in self._states.values()]
        return "  ".join((*parts, *self._first()))

    def _first(self) -> list[str]:
        if not self._running:
            return []
        first = next(iter(self._running.values()))
        more = len(self._running) - 1
        others = f" and {more} more" if more else ""
        return [f"{clean(first.task)}{others}: {first.says}"]


def _busy(one: _Running, usage: Usage, now: float) -> float | None:
    """How many processors it used between the last two looks."""
    passed = now - one.looked
    return max(0.0, usage.cpu - one.cpu) / passed if passed > 0.05 and usage.cpu is not None else None


def in_words(usage: Usage, *, seconds: float, busy: float | None, limit: int | None) -> str:
    """A running task's use in one line.

    >>> from flyte_images_runtime.resources.metrics import Usage
    >>> in_words(Usage(cpu=2.5, memory=35_100_000, throttled=0.4), seconds=3.0, busy=0.98, limit=134_200_000)
    '3.0 s, CPU 2.5 s (98%), memory 35.1 MB of 134.2 MB, throttled 0.4 s'
    >>> in_words(Usage(gpu_utilisation=0.87, gpu_memory=3_100_000_000), seconds=3.0, busy=None, limit=None)
    '3.0 s, GPU 87%, 3.1 GB on it'
    """
    parts = [duration(seconds)]
    if usage.cpu is not None:
        parts.append(f"CPU {duration(usage.cpu)}" + (f" ({busy:.0%})" if busy is not None else ""))
    if usage.memory is not None:
        parts.append(f"memory {size(usage.memory)}" + (f" of {size(limit)}" if limit else ""))
    if usage.throttled and usage.throttled >= 0.05:
        parts.append(f"throttled {duration(usage.throttled)}")
    if usage.gpu_utilisation is not None:
        parts.append(f"GPU {usage.gpu_utilisation:.0%}")
    if usage.gpu_memory is not None:
        parts.append(f"{size(usage.gpu_memory)} on it")
    return ", ".join(parts)


def _data(usage: Usage) -> dict[str, object]:
    from dataclasses import asdict

    return {name: value for name, value in asdict(usage).items() if value is not None}
