"""Changes of a build -> lines on a stream: `plain` for logs and people without a terminal, `json` for programs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

from .terminal_text import clean, duration, size

if TYPE_CHECKING:  # at run time only a build that is solved loads it: a no-op build counts milliseconds
    from .state import BuildState, Change, Step

_LONGEST_NAME = 72
_TRANSFER_EVERY = 0.5


class Display(Protocol):
    """Shows what happens; called under one lock, never concurrently."""

    def change(self, image: str, build: BuildState, change: Change) -> None: ...
    def note(self, text: str) -> None: ...
    def summary(self, image: str, counts: Counts, reference: str, seconds: float, size: int | None) -> None: ...
    def close(self) -> None: ...


class Counts:
    """How many steps of a build ran and how many the engine had already."""

    def __init__(self, build: BuildState | None) -> None:
        steps = [step for step in build.steps.values() if step.counted] if build else []
        self.built = sum(step.outcome == "done" for step in steps)
        self.cached = sum(step.outcome == "cached" for step in steps)


class Writer:
    """Whole lines to a stream that may be closed, broken or too narrow: showing is never worth a failure."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._gone = False

    def line(self, text: str) -> None:
        self.write(text + "\n")

    def write(self, text: str) -> None:
        """Any text, at once."""
        if self._gone:
            return
        try:
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                encoding = self.stream.encoding or "ascii"
                self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self.stream.flush()
        except (OSError, ValueError):  # a closed pipe or a closed stream
            self._gone = True


def label(image: str, step: Step | None, *, several: bool) -> str:
    """The name of a step, behind the name of its image where several are built."""
    name = clipped(step.name, _LONGEST_NAME) if step else ""
    return f"{clean(image)} > {name}" if several else name


def clipped(text: str, longest: int) -> str:
    """
    >>> clipped("abcdefgh", 6)
    'abc...'
    """
    return text if len(text) <= longest else text[: longest - 3] + "..."


def ended(step: Step) -> str:
    """What became of a step, in words.

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
    """Shows nothing; errors are rendered by the caller."""

    def change(self, image: str, build: BuildState, change: Change) -> None: ...
    def note(self, text: str) -> None: ...
    def summary(self, image: str, counts: Counts, reference: str, seconds: float, size: int | None) -> None: ...
    def close(self) -> None: ...


class Plain:
    """One line when a step starts, one when it ends, and what it prints in between behind its name."""

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
    """One JSON object a line. Every object has `event`; these fields stay as they are:

    step      image, step, name, state (started | done | cached | failed | canceled), seconds, error
    log       image, step, stream (stdout | stderr), text
    transfer  image, step, current, total (bytes; at most two a second for a step)
    warning   image, step, text
    note      text
    image     image, reference, built, cached, seconds, size (bytes or null): the last line of an image

    `step` names a step within one image and one build; it is no digest and means nothing elsewhere. A step may start
    again after its end: the last line holds.
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
