"""Show the progress of builds on one stream: bars on a terminal, plain lines elsewhere, JSON lines for programs.

    with Progress("auto", sys.stderr) as progress:
        sink = progress.image("ml_env")
        client.solve(..., on_event=sink)
        progress.summary("ml_env", reference="ml_env:3f2a", seconds=2.2)

Progress never makes a build fail: events in any order and broken streams raise nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TextIO

from flyte_images_runtime.system.diagnostics import is_logged

from .lines import Counts, Display, Json, Plain, Quiet

if TYPE_CHECKING:  # loaded by the first image with events; a build that changes nothing has none
    from .image_sink import ImageProgress
    from .state import BuildState

__all__ = ["Mode", "Progress", "chosen_mode"]

Mode = Literal["auto", "tty", "plain", "json", "quiet"]


def chosen_mode(mode: Mode, stream: TextIO, env: Mapping[str, str]) -> Mode:
    """Return the mode, with `auto` replaced: bars on a terminal that can move its cursor, else plain lines, as in CI.

    >>> import io
    >>> chosen_mode("auto", io.StringIO(), {})
    'plain'
    """
    if mode != "auto":
        return mode
    if is_logged():  # lines of the log would break the bars
        return "plain"
    try:
        terminal = stream.isatty()
    except ValueError:  # closed
        terminal = False
    return "tty" if terminal and env.get("TERM", "dumb") not in ("dumb", "unknown") and not env.get("CI") else "plain"


class Progress:
    """The display of one command. Any number of images may build at once, from any threads.

    `mode` is "auto", "tty" (bars), "plain" (lines), "json" (a JSON line for each event) or "quiet".

    >>> import sys
    >>> with Progress("plain", sys.stdout) as progress:
    ...     progress.note("resolving numpy")
    resolving numpy
    """

    def __init__(self, mode: Mode, stream: TextIO, *, env: Mapping[str, str] | None = None) -> None:
        env = os.environ if env is None else env
        self.stream = stream
        self.mode = chosen_mode(mode, stream, env)
        self._lock = threading.RLock()
        self._images: dict[str, ImageProgress] = {}
        self._builds: dict[str, BuildState] = {}
        self._owners: dict[str, ImageProgress] = {}
        self._display = self._make_display(stream, env)

    def _make_display(self, stream: TextIO, env: Mapping[str, str]) -> Display:
        match self.mode:
            case "quiet":
                return Quiet()
            case "json":
                return Json(stream)
            case "tty":
                from .bars import Bars

                return Bars(stream, env, self._lock, self._builds, self._several)
            case _:
                return Plain(stream, self._several)

    def _several(self) -> bool:
        return len(self._images) > 1

    def image(self, name: str) -> ImageProgress:
        """Return the sink for the events of one image: one a name. Call this only if there is something to solve."""
        from .image_sink import ImageProgress

        with self._lock:
            if name not in self._images:
                self._images[name] = ImageProgress(name, self._lock, self._display, self._owners)
                self._builds[name] = self._images[name].state
            return self._images[name]

    def note(self, text: str) -> None:
        """Show a line among the steps: the chosen base, the names that are resolved."""
        with self._lock:
            self._display.note(text)

    def summary(self, name: str, *, reference: str, seconds: float, size: int | None = None) -> None:
        """Show the last line of an image: `up to date` if no step was run."""
        with self._lock:
            image = self._images.get(name)
            if image:
                image.finish(succeeded=True)
            self._display.summary(name, Counts(image.state if image else None), reference, seconds, size)

    def close(self) -> None:
        """Finish all images and the display."""
        with self._lock:
            for image in self._images.values():
                image.finish()
        self._display.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
