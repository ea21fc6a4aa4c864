"""Show the changes of builds as lines on a stream: `plain` for logs and people, `json` for programs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

from .terminal_text import clean, duration, size

if TYPE_CHECKING:  # loaded only by a build that is solved; a build that changes nothing must start fast
    from .state import BuildState, Change, Step

_LONGEST_NAME = 72
_TRANSFER_EVERY = 0.5  # seconds


class Display(Protocol):
    """Shows the changes of builds. All calls are made under one lock."""

    def change(self, image: str, build: BuildState, change: Change) -> None: ...
    def note(self, text: str) -> None: ...
    def summary(self, image: str, counts: Counts, reference: str, seconds: float, size: int | None) -> None: ...
    def close(self) -> None: ...


class Counts:
    """The number of steps that ran, and of those that the engine had in its cache."""

    def __init__(self, build: BuildState | None) -> None:
        steps = [step for step in build.steps.values() if step.counted] if build else []
        self.built = sum(step.outcome == "done" for step in steps)
        self.cached = sum(step.outcome == "cached" for step in steps)


class Writer:
    """Writes whole lines to a stream that may be closed, broken or unable to encode them. Never raises."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._closed = False

    def line(self, text: str) -> None:
        self.write(text + "\n")

    def write(self, text: str) -> None:
        """Write a text and flush."""
        if self._closed:
            return
        try:
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                encoding = self.stream.encoding or "ascii"
                self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self.stream.flush()
        except (OSError, ValueError):  # a closed pipe or a closed stream
            self._closed = True


def label(image: str, step: Step | None, *, several: bool) -> str:
    """Return the name of a step, after the name of its image if several images are built."""
    name = clipped(step.name, _LONGEST_NAME) if step else ""
    return f"{clean(image)} > {name}" if several else name


def clipped(text: str, longest: int) -> str:
    """Return the text, shortened to at most `longest` characters.

    >>> clipped("abcdefgh", 6)
    'abc...'
    """
    return text if len(text) <= longest else text[: longest - 3] + "..."


def ended(step: Step) -> str:
    """Return how a step ended, in words:

    `done in 3.4 s`, `failed after 1.2 s: exit code: 3`, `cached`, `canceled`
    """
    match step.outcome:
        case "done":
            return f"done in {duration(step.seconds)}"
        case "failed":
            return f"failed after {duration(step.seconds)}: {step.error}"
        case other:
            return str(other)


def summary_line(image: str, counts: Counts, reference: str, seconds: float, bytes_: int | None) -> str:
    built = f"{counts.built} built, {counts.cached} cached" if counts.built or counts.cached else "up to date"
    parts = [built, duration(seconds), *([size(bytes_)] if bytes_ is not None else []), clean(reference)]
    return f"{clean(image)}: " + ", ".join(parts)


class Quiet:
    """Shows nothing. The caller renders errors."""

    def change(self, image: str, build: BuildState, change: Change) -> None: ...
    def note(self, text: str) -> None: ...
    def summary(self, image: str, counts: Counts, reference: str, seconds: float, size: int | None) -> None: ...
    def close(self) -> None: ...


class Plain:
    """One line when a step starts, one when it ends, and each line of its output after its name."""

    def __init__(self, stream: TextIO, several: Callable[[], bool]) -> None:
        self._out = Writer(stream)
        self._several = several

    def change(self, image: str, build: BuildState, change: Change) -> None:
        step = change.step
        if change.kind == "moved" or (step and step.hidden):
            return
        name = label(image, step, several=self._several())
        match change.kind:
            case "started":
                self._out.line(f"{name}: started")
            case "ended" if step:
                self._out.line(f"{name}: {ended(step)}")
            case "line":
                self._out.line(f"{name} | {change.text}")
            case "warning":
                self._out.line(f"{name}: warning: {change.text}" if name else f"warning: {change.text}")

    def note(self, text: str) -> None:
        self._out.line(clean(text))

    def summary(self, image: str, counts: Counts, reference: str, seconds: float, size: int | None) -> None:
        self._out.line(summary_line(image, counts, reference, seconds, size))

    def close(self) -> None: ...


class Json:
    """One JSON object a line. Every object has `event`. These fields are stable:

    step      image, step, name, state (started | done | cached | failed | canceled), seconds, error
    log       image, step, stream (stdout | stderr), text
    transfer  image, step, current, total (bytes; at most two events a second for a step)
    warning   image, step, text
    note      text
    image     image, reference, built, cached, seconds, size (bytes or null): the last event of an image
    debug     time, text: only with -v

    `step` identifies a step within one image of one build and is not a digest. A step may start again after its end:
    the last event holds.
    """

    def __init__(self, stream: TextIO) -> None:
        self._out = Writer(stream)
        self._moved: dict[tuple[str, str], float] = {}

    def _write(self, event: str, **fields: object) -> None:
        import json

        self._out.line(json.dumps({"event": event, **fields}))

    def change(self, image: str, build: BuildState, change: Change) -> None:
        step = change.step
        if step and step.hidden:
            return
        key = step.key if step else None
        match change.kind:
            case "started" if step:
                self._write("step", image=image, step=key, name=step.name, state="started")
            case "ended" if step:
                fields: dict[str, object] = {"seconds": round(step.seconds, 3)}
                if step.error:
                    fields["error"] = step.error
                self._write("step", image=image, step=key, name=step.name, state=step.outcome, **fields)
            case "line":
                stream = "stderr" if change.stream == 2 else "stdout"
                self._write("log", image=image, step=key, stream=stream, text=change.text)
            case "warning":
                self._write("warning", image=image, step=key, text=change.text)
            case "moved" if step:
                self._transfer(image, build, step)

    def _transfer(self, image: str, build: BuildState, step: Step) -> None:
        current, total = build.transferred(step)
        now = time.monotonic()
        if total and (current == total or now - self._moved.get((image, step.key), 0.0) >= _TRANSFER_EVERY):
            self._moved[image, step.key] = now
            self._write("transfer", image=image, step=step.key, current=current, total=total)

    def note(self, text: str) -> None:
        self._write("note", text=text)

    def summary(self, image: str, counts: Counts, reference: str, seconds: float, size: int | None) -> None:
        built = {"built": counts.built, "cached": counts.cached}
        self._write("image", image=image, reference=reference, **built, seconds=round(seconds, 3), size=size)

    def close(self) -> None: ...
