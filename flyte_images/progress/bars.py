"""Show the changes of builds as live bars on a terminal. rich is loaded only for builds that last long enough."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TextIO

from .lines import Counts, Writer, clipped, ended, label, summary_line
from .terminal_text import clean, duration, size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from .state import BuildState, Change, Step

_DELAY = 0.25  # seconds; a shorter build needs no bars, and loading rich would take a third of its time
_REFRESH = 0.1  # seconds
_STYLES = {"cached": "\x1b[2m", "canceled": "\x1b[2m", "failed": "\x1b[31m", "warning": "\x1b[33m", "bold": "\x1b[1m"}
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Bars:
    """An overall bar, a line for each running step, and above them a line for each step that has ended."""

    def __init__(
        self,
        stream: TextIO,
        env: Mapping[str, str],
        lock: threading.RLock,
        builds: Mapping[str, BuildState],
        several: Callable[[], bool],
    ) -> None:
        self._out = Writer(stream)
        self._color = not env.get("NO_COLOR")
        self._unicode = (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"
        self._lock = lock
        self._builds = builds
        self._several = several
        self._began = time.monotonic()
        self._ready: list[tuple[str, str]] = []  # (style, line) to print above the bars
        self._last: dict[Step, str] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def change(self, image: str, build: BuildState, change: Change) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._draw, name="flyte-images bars", daemon=True)
            self._thread.start()
        if change.step and change.step.hidden:
            return
        name = label(image, change.step, several=self._several())
        match change.kind:  # the next frame shows starts and moved bytes
            case "ended" if change.step:
                self._ready.append(self._end(name, change.step))
            case "line" if change.step:
                self._last[change.step] = change.text
            case "warning":
                self._ready.append(("warning", f"{name}: warning: {change.text}"))

    def note(self, text: str) -> None:
        self._ready.append(("", clean(text)))
        if self._thread is None:
            self._flush()

    def summary(self, image: str, counts: Counts, reference: str, seconds: float, size: int | None) -> None:
        self._ready.append(("bold", summary_line(image, counts, reference, seconds, size)))
        if self._thread is None:
            self._flush()

    def close(self) -> None:
        """Draw the last frame. Call this without the lock, which the drawing thread takes."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._flush()

    def _end(self, name: str, step: Step) -> tuple[str, str]:
        marks = (
            {"done": "✓", "cached": "✓", "failed": "✗"}
            if self._unicode
            else {"done": "+", "cached": "+", "failed": "x"}
        )
        mark = marks.get(step.outcome or "", "-")
        if step.outcome == "failed":
            return "failed", f"{mark} {name}  {ended(step)}"
        right = duration(step.seconds) if step.outcome == "done" else (step.outcome or "").upper()
        room = max(10, self._width() - 16)
        return step.outcome or "", f"{mark} {clipped(name, room):<{min(48, room)}}  {right}"

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._out.stream.fileno()).columns
        except (OSError, ValueError):
            return 80

    def _flush(self) -> None:
        for style, text in self._ready:
            begin = _STYLES.get(style, "") if self._color else ""
            self._out.line(f"{begin}{text}\x1b[0m" if begin else text)
        self._ready.clear()

    def _draw(self) -> None:
        if self._closing.wait(_DELAY):
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(
            file=self._out.stream,
            force_terminal=True,
            no_color=not self._color,
            highlight=False,
            markup=False,
            emoji=False,
        )
        # stdout is for data: rich must not redirect it.
        live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)
        try:
            with live:
                while True:
                    last = self._closing.wait(_REFRESH)
                    with self._lock:
                        for build in self._builds.values():
                            build.waited(time.monotonic())
                        ready, self._ready = self._ready, []
                        frame = self._frame(console)
                    for style, line in ready:  # soft wrap: the terminal wraps the line, so it can be copied as one
                        console.print(self._text(style, line), soft_wrap=True)
                    live.update(frame, refresh=True)
                    if last:
                        return
        except (OSError, ValueError):  # the terminal is closed
            return

    def _text(self, style: str, line: str) -> Text:
        from rich.text import Text

        names = {"cached": "dim", "canceled": "dim", "failed": "red", "warning": "yellow", "bold": "bold"}
        return Text(line, style=names.get(style, ""))

    def _frame(self, console: Console) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        now = time.monotonic()
        counted = [step for build in self._builds.values() for step in build.steps.values() if step.counted]
        running = [
            (label(image, step, several=self._several()), step, build)
            for image, build in self._builds.items()
            for step in build.steps.values()
            if step.announced and step.running_since is not None and not step.hidden
        ]
        settled = sum(step.outcome is not None for step in counted)
        width = console.size.width
        overall = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(len(counted), 1), completed=settled, width=max(4, min(40, width - 34)))
        overall.add_row(bar, f"{settled}/{len(counted)} steps", duration(now - self._began))

        room = max(1, console.size.height - 4)
        # Less than the whole width: the `^C` that a terminal echoes after the last line must not wrap it.
        steps = Table.grid(padding=(0, 1))
        steps.width = max(width - 4, 8)
        for grow in (0, 3, 2, 0):
            steps.add_column(no_wrap=True, overflow="ellipsis" if self._unicode else "crop", ratio=grow or None)
        for name, step, build in running[:room]:
            elapsed = duration(now - (step.running_since or now))
            steps.add_row(self._spinner(now), name, self._detail(build, step), elapsed)
        frame = Table.grid()
        frame.add_row(overall)
        frame.add_row(steps)
        if len(running) > room:
            frame.add_row(f"  and {len(running) - room} more")
        return frame

    def _spinner(self, now: float) -> str:
        frames = _SPINNER if self._unicode else "-\\|/"
        return frames[int(now / _REFRESH) % len(frames)]

    def _detail(self, build: BuildState, step: Step) -> Text:
        """Return the bytes if some are transferred, else the parts done of the layer, else its last output line."""
        from rich.text import Text

        current, total = build.transferred(step)
        done, parts = build.parts(step)
        if total and current < total:
            return Text(f"{size(current)} / {size(total)}")
        if parts > 1:
            return Text(f"{done}/{parts}")
        return Text(self._last.get(step, ""), style="dim")
