"""Build events -> steps as people think of them. No I/O, no clock: the caller gives the time.

BuildKit reports *vertices*, and repeats itself: a source starts for its look-up, ends, and starts again for its fetch;
a vertex is reported as cached late; the ancestors of a cached vertex may never be reported again. A *step* here is one
layer of the user, whose vertices share a group, or a single vertex. Durations come from the engine's clock only; the
caller's `now` measures for how long a step has been seen running.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..buildkit.events import Event, Vertex, VertexLog, VertexStatus, VertexWarning
from .terminal_text import Lines, clean

Outcome = Literal["done", "cached", "failed", "canceled"]

_LOOKUP = 0.02  # seconds; a look-up in the engine takes a few milliseconds, a fetch takes longer
_PATIENCE = 0.3  # seconds after which a look-up gets a line: it waits for a network
_UNNAMED = ("sha256:", "merge (", "diff (", "merge ", "diff ")
_ENGINE_WORK = ("exporting ", "importing cache", "preparing build cache", "inserting cache", "writing ")


class Step:
    """The state of one layer of the user, or of one vertex outside of layers."""

    def __init__(self, key: str, name: str) -> None:
        self.key = key
        self.name = name
        self.vertices: list[_Vertex] = []
        self.running_since: float | None = None
        self.announced = False
        self.outcome: Outcome | None = None
        self.shown_outcome: Outcome | None = None
        self.seconds = 0.0
        self.error = ""

    @property
    def hidden(self) -> bool:
        """True for internal vertices of the engine, which are shown only if they fail."""
        return self.outcome != "failed" and self.name.startswith(_UNNAMED)

    @property
    def counted(self) -> bool:
        """False for work that the engine does in every build, such as exporting: neither cached nor built."""
        return not self.hidden and not self.name.startswith(_ENGINE_WORK)


class Change(NamedTuple):
    """One change to show: `step` started, ended (see its outcome), moved bytes, or printed `text`."""

    kind: Literal["started", "ended", "moved", "line", "warning"]
    step: Step | None
    text: str = ""
    stream: int = 0


class _Vertex:
    def __init__(self, step: Step) -> None:
        self.step = step
        self.inputs: tuple[str, ...] = ()
        self.runs: dict[float, float | None] = {}
        self.cached = self.spoke = self.looks_up = self.implied = False
        self.error = ""
        self.seen_running = 0.0
        self.transfers: dict[str, tuple[int, int]] = {}
        self.lines: dict[int, Lines] = {}

    @property
    def running(self) -> bool:
        return any(ended is None for ended in self.runs.values())

    @property
    def worked(self) -> bool:
        """True if the vertex does, or has done, its work. The first, short run of a source is only its look-up."""
        if self.cached or not self.looks_up:
            return not self.cached and bool(self.runs)
        later = [ended - began for began, ended in list(self.runs.items())[1:] if ended is not None]
        return self.spoke or max(later, default=0.0) >= _LOOKUP

    @property
    def settled(self) -> bool:
        return not self.running and bool(self.cached or self.error or self.implied or self.worked)


class BuildState:
    """The state of one build. `apply` takes an event and returns the changes to show."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self._vertices: dict[str, _Vertex] = {}
        self._running: dict[str, _Vertex] = {}
        self._given_up: Outcome | None = None  # outcome of steps whose run was given up; known at the end of the build

    def apply(self, event: Event, now: float) -> list[Change]:
        """Take in an event. `now`: seconds of any clock that only goes forward."""
        changes: list[Change] = []
        match event:
            case Vertex():
                changes += self._vertex(event, now)
            case VertexStatus():
                changes += self._status(event)
            case VertexLog():
                changes += self._log(event)
            case VertexWarning():
                vertex = self._vertices.get(event.vertex)
                text = clean(event.short.decode("utf-8", "replace"))
                changes.append(Change("warning", vertex.step if vertex else None, text))
        changes += self.waited(now)
        return changes

    def waited(self, now: float) -> list[Change]:
        """Return the starts of steps that have run long enough to be shown, though no event reports their work."""
        changes: list[Change] = []
        for vertex in self._running.values():
            if now - vertex.seen_running >= _PATIENCE:
                changes += self._announce(vertex.step)
        return changes

    def finish(self, *, succeeded: bool = False) -> list[Change]:
        """End the build: return the last lines of the steps, and an end for each step that was started.

        The engine also gives up a run when it finds the result elsewhere; if the build succeeded, that is `cached`.
        """
        self._given_up = "cached" if succeeded else "canceled"
        changes: list[Change] = []
        for vertex in self._vertices.values():
            changes += self._unfinished_lines(vertex)
            if vertex.running:
                vertex.error = vertex.error or "canceled"
                vertex.runs = {began: began if ended is None else ended for began, ended in vertex.runs.items()}
            elif vertex.runs or vertex.spoke:
                vertex.implied = True
        self._running.clear()
        for step in self.steps.values():
            if step.outcome is None and any(vertex.settled for vertex in step.vertices):
                changes += self._end(step)
        return changes

    def transferred(self, step: Step) -> tuple[int, int]:
        """Return the transferred and the total bytes of a step, as far as they are known."""
        parts = [part for vertex in step.vertices for part in vertex.transfers.values() if part[1] > 0]
        return sum(min(part) for part in parts), sum(part[1] for part in parts)

    def parts(self, step: Step) -> tuple[int, int]:
        """Return the number of settled vertices of a step, and of all its vertices."""
        return sum(vertex.settled for vertex in step.vertices), len(step.vertices)

    def _vertex(self, event: Vertex, now: float) -> list[Change]:
        vertex = self._vertices.get(event.digest)
        if vertex is None:
            vertex = self._vertices[event.digest] = _Vertex(self._step_of(event))
            vertex.step.vertices.append(vertex)
        vertex.inputs = event.inputs or vertex.inputs
        vertex.looks_up = not vertex.inputs and not event.name.startswith(_ENGINE_WORK)
        vertex.cached = vertex.cached or event.cached
        vertex.error = clean(event.error or "")
        if event.started is not None:
            if event.started not in vertex.runs:
                vertex.seen_running = now
            vertex.runs[event.started] = event.completed
        changes = [] if vertex.running else self._unfinished_lines(vertex)
        if vertex.running:
            self._running[event.digest] = vertex
        else:
            self._running.pop(event.digest, None)
        ready = vertex.settled or vertex.worked
        for step in {**(self._imply(vertex) if ready else {}), vertex.step: None}:
            changes += self._check(step, now)
        return changes + (self._announce(vertex.step) if vertex.running and vertex.worked else [])

    def _step_of(self, event: Vertex) -> Step:
        key = f"group:{event.group_id}" if event.group_id else event.digest
        step = self.steps.get(key)
        if step is None:
            name = (event.group_name or event.name) if event.group_id else event.name
            step = self.steps[key] = Step(key, clean(name) or event.digest)
        return step

    def _imply(self, vertex: _Vertex) -> dict[Step, None]:
        """Mark the ancestors of a vertex that works or is settled as settled. Return the steps that this affects."""
        steps: dict[Step, None] = {}
        below = list(vertex.inputs)
        while below:
            known = self._vertices.get(below.pop())
            if known is not None and not known.running and not known.settled:
                known.implied = True
                steps[known.step] = None
                below += known.inputs
        return steps

    def _check(self, step: Step, now: float) -> list[Change]:
        """End the step if all its vertices are settled. Start it again if it had ended and runs."""
        if any(vertex.running for vertex in step.vertices):
            step.running_since = now if step.running_since is None else step.running_since
            if step.outcome in ("done", "cached"):
                step.outcome = None
            return []
        step.running_since = None
        failed = any(vertex.error for vertex in step.vertices)
        if step.outcome is None and (failed or all(vertex.settled for vertex in step.vertices)):
            return self._end(step)
        return []

    def _end(self, step: Step) -> list[Change]:
        errors = [v.error for v in step.vertices if v.error]
        real = [error for error in errors if "cancel" not in error]
        if errors and not real and self._given_up is None:
            return []
        before, vertices = step.seconds, step.vertices
        step.seconds = _covered([(b, e) for v in vertices for b, e in v.runs.items() if e is not None])
        step.running_since = None
        if real:
            step.outcome, step.error = "failed", real[0]
        elif errors:
            step.outcome, step.error = self._given_up, errors[0] if self._given_up == "canceled" else ""
        else:
            step.outcome = "done" if any(v.worked for v in vertices) else "cached"
        again = step.announced and before > 0 and not errors and step.seconds - before < 1.0
        if again or (step.shown_outcome == step.outcome == "cached"):
            return []
        step.shown_outcome = step.outcome
        return [Change("ended", step)]

    def _announce(self, step: Step) -> list[Change]:
        if step.announced or step.outcome is not None:
            return []
        step.announced, step.shown_outcome = True, None  # its end will be shown, even if an earlier end was
        return [Change("started", step)]

    def _unfinished_lines(self, vertex: _Vertex) -> list[Change]:
        """Return the lines of a vertex that have no newline yet."""
        lines = [(stream, text) for stream, pending in vertex.lines.items() for text in pending.rest()]
        return [Change("line", vertex.step, text, stream) for stream, text in lines]

    def _status(self, event: VertexStatus) -> list[Change]:
        vertex = self._vertices.get(event.vertex)
        if vertex is None:
            return []
        vertex.spoke = vertex.spoke or event.total > 0
        total = max(event.total, event.current) if event.completed is not None else event.total
        vertex.transfers[event.id] = (total if event.completed is not None else event.current, total)
        return [
            *(self._announce(vertex.step) if vertex.running and vertex.worked else []),
            Change("moved", vertex.step),
        ]

    def _log(self, event: VertexLog) -> list[Change]:
        vertex = self._vertices.get(event.vertex)
        if vertex is None:
            return []
        vertex.spoke = True
        lines = vertex.lines.setdefault(event.stream, Lines())
        return self._announce(vertex.step) + [
            Change("line", vertex.step, text, event.stream) for text in lines.feed(event.data)
        ]


def _covered(runs: list[tuple[float, float]]) -> float:
    """Return the seconds during which at least one of the runs went on.

    >>> _covered([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0)])
    4.0
    """
    total, reached = 0.0, float("-inf")
    for began, ended in sorted(runs):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total
