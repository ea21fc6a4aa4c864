"""Remove the values of secrets from a build's events and errors."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from flyte_images_runtime.task.redaction import Redactor

from ..errors import BuildError
from .events import Event, Vertex, VertexLog

_LONGEST, _HELD = 1 << 16, 1 << 13  # characters: of a line that is held back, and of the end of a longer line


class Masked:
    """Passes on events without secrets. A step's output is held back until its line ends."""

    def __init__(self, on_event: Callable[[Event], None], redactor: Redactor) -> None:
        self._on_event, self._redactor = on_event, redactor
        self._logs: dict[str, _Log] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, VertexLog):
            if event.vertex not in self._logs:
                self._logs[event.vertex] = _Log(event.vertex, self._on_event, self._redactor)
            self._logs[event.vertex].feed(event)
            return
        if isinstance(event, Vertex):
            if event.completed is not None and event.digest in self._logs:
                self._logs.pop(event.digest).end()
            event = replace(event, error=self._redactor(event.error))
        self._on_event(event)


class _Log:
    """The output of one step, passed on by stream and line; of a very long line, only the end is held back."""

    def __init__(self, vertex: str, on_event: Callable[[Event], None], redactor: Redactor) -> None:
        self._vertex, self._on_event, self._redactor = vertex, on_event, redactor
        self._open: dict[int, str] = {}
        self._decoders: dict[int, codecs.IncrementalDecoder] = {}

    def feed(self, event: VertexLog) -> None:
        """Add a piece of output, and pass on the lines that it ends."""
        if event.stream not in self._decoders:  # a character may be split between two pieces
            self._decoders[event.stream] = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        text = self._open.get(event.stream, "") + self._decoders[event.stream].decode(event.data)
        at = text.rfind("\n") + 1
        ready, pending = self._redactor(text[:at]), text[at:]
        if len(pending) > _LONGEST:
            pending = self._redactor(pending)
            ready, pending = ready + pending[:-_HELD], pending[-_HELD:]
        self._open[event.stream] = pending
        self._pass_on(event.stream, ready)

    def end(self) -> None:
        """Pass on the lines that have not ended."""
        for stream, text in self._open.items():
            self._pass_on(stream, self._redactor(text))

    def _pass_on(self, stream: int, text: str) -> None:
        if text:
            data = text.encode("utf-8", "surrogateescape")
            self._on_event(VertexLog(vertex=self._vertex, stream=stream, data=data))


@contextmanager
def masked(redactor: Redactor) -> Iterator[None]:
    """Remove the values from the error of a build that fails in this context."""
    try:
        yield
    except BuildError as error:
        if redactor:
            error.args = (redactor(str(error)),)
            error.log = redactor(error.log)
            error.hint = error.hint and redactor(error.hint)
        raise
