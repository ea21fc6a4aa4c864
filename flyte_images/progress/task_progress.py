"""Show the output and usage of tasks: lines, and on a terminal a live line below them.

    with TaskProgress("auto", sys.stderr, main="ml.train", limit=...) as shown:
        flyte.run.using(on_line=shown.line, on_usage=shown.usage)(train)

For programs each line is a JSON object with `event`, like those of builds (lines.py). These fields are stable:

output     task, stream (stdout | stderr), text
state      task, stream, text: current text of a line that overwrites itself; every two seconds
usage      task, run, seconds, usage (cpu, memory, throttled, ..., as far as known); every two seconds
traceback  task, text
task       task, run, metrics: the last event of a run that succeeded
map        task, done, failed, running, total, seconds (map_progress.py)
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
from .status_line import StatusLine, open_status_line
from .terminal_text import clean, duration, last_state, size

if TYPE_CHECKING:
    from flyte_images_runtime.resources.metrics import Usage

_PLAIN_FIRST = 30.0  # seconds after which the first plain line reports that the task still runs
_PLAIN_EVERY = 60.0
_JSON_EVERY = 2.0
_STATE_EVERY: dict[Mode, float] = {"plain": 15.0, "json": 2.0}


@dataclass(slots=True)
class _Running:
    """One running task: its start, its usage at the last look, and when its next line is due (clock of `monotonic`)."""

    task: str
    began: float
    looked: float
    cpu: float = 0.0
    due: float = 0.0
    words: str = ""


class TaskProgress:
    """The display of one command that runs tasks. Lines of tasks other than `main` begin with their name."""

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
        self._below = StatusLine(stream, live=self.mode == "tty", color=not env.get("NO_COLOR"))
        self._running: dict[str, _Running] = {}
        self._states: dict[tuple[str, str], str] = {}
        self._due = 0.0
        self._lock = threading.Lock()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(open_status_line(self._below))
        self._below.show(f"{self._main}: starting")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def show(self, words: str, event: str, /, **fields: object) -> None:
        """Print a line that stays: words for people, an event for programs."""
        if self.mode == "json":
            import json

            words = json.dumps({"event": event, **fields})
        self._below.print(words)

    def line(self, task: str, stream: str, text: str) -> None:
        """Print a line of a task's output."""
        with self._lock:
            if self._states.pop((task, stream), None) is not None:
                self._below.show(self._summary())
        self._print(task, stream, text, "output")

    def watching(self, follow: bool) -> dict[str, object]:
        """Return the callbacks of a runner: for all output, or for none."""
        return {"on_line": self.line, "on_state": self.state} if follow else {"on_line": None}

    def state(self, task: str, stream: str, text: str) -> None:
        """Show the current text of a line that overwrites itself, such as a progress bar."""
        now = time.monotonic()
        with self._lock:
            self._states.pop((task, stream), None)
            if not text.strip():  # the task has erased the bar
                return
            self._states[task, stream] = text
            self._below.show(self._summary())
            if self.mode in _STATE_EVERY and now >= self._due:
                self._due = now + _STATE_EVERY[self.mode]
                self._print(task, stream, text, "state")

    def _print(self, task: str, stream: str, text: str, event: str) -> None:
        shown = last_state(text)
        named = shown if task == self._main else f"[{task}] {shown}"
        self.show(named, event, task=task, stream=stream, text=text)

    def usage(self, task: str, run: str, usage: Usage | None) -> None:
        """Show what a task has used so far. None: the task has ended."""
        now = time.monotonic()
        with self._lock:
            if usage is None:
                self._running.pop(run, None)
                self._states = {key: text for key, text in self._states.items() if key[0] != task}
                self._below.show(self._summary())
                return
            task_state = self._running.get(run) or _Running(task, now, now, due=now + _PLAIN_FIRST)
            self._running[run] = task_state
            task_state.words = in_words(
                usage, seconds=now - task_state.began, busy=_busy(task_state, usage, now), limit=self._limit(task)
            )
            task_state.looked, task_state.cpu = now, usage.cpu or 0.0
            if self.mode == "json" and now >= task_state.due - _PLAIN_FIRST:
                task_state.due = now + _PLAIN_FIRST + _JSON_EVERY
                self.show("", "usage", task=task, run=run, seconds=round(now - task_state.began, 3), usage=_data(usage))
            elif self.mode == "plain" and now >= task_state.due:
                task_state.due = now + _PLAIN_EVERY
                self.show(f"{task}: runs for {task_state.words}", "usage")
            self._below.show(self._summary())

    def _summary(self) -> str:
        """Return the status line: texts of lines that overwrite themselves, the first task, the number of others."""
        parts = [clean(text) for text in self._states.values()]
        return "  ".join((*parts, *self._first()))

    def _first(self) -> list[str]:
        if not self._running:
            return []
        first = next(iter(self._running.values()))
        more = len(self._running) - 1
        others = f" and {more} more" if more else ""
        return [f"{clean(first.task)}{others}: {first.words}"]


def _busy(task: _Running, usage: Usage, now: float) -> float | None:
    """Return the processors used between the last two looks, or None if that is not known."""
    passed = now - task.looked
    return max(0.0, usage.cpu - task.cpu) / passed if passed > 0.05 and usage.cpu is not None else None


def in_words(usage: Usage, *, seconds: float, busy: float | None, limit: int | None) -> str:
    """Return the usage of a running task in one line.

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
