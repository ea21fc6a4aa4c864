"""A State -> the serialized graph that BuildKit receives. Pure; the same state always gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import Location, SpecError
from .pb import ops_pb2
from .state import State, Vertex, metadata, serialize, utf8
from .wire import entry, field

_LIMIT = (16 << 20) - (64 << 10)  # BuildKit accepts messages of 16 MiB; the other fields of the request need space


@dataclass(frozen=True, slots=True, repr=False)
class Definition:
    """A graph, ready to be solved.

    `data` is the graph in a solve request. `ops` are the operations, each after its inputs, and `digests` their names.
    The result is output `index` of the operation named `head`.
    """

    data: bytes
    ops: tuple[bytes, ...]
    digests: tuple[str, ...]
    head: str
    index: int

    def to_pb(self) -> ops_pb2.Definition:
        """Return the graph as a new message."""
        return ops_pb2.Definition.FromString(self.data)

    def __repr__(self) -> str:
        return f"Definition({len(self.ops)} ops, {self.head})"


def marshal(state: State, *, sources: Mapping[str, bytes] | None = None) -> Definition:
    """Return the graph that makes `state`.

    `sources` are the user's files by name; the engine quotes their lines when a step fails. This client's own errors
    name file and line without them too. Raises SpecError for an empty result and for a graph of more than 16 MiB.
    """
    if state.vertex is None:
        raise SpecError("there is nothing to build: the result is empty", hint="add at least one file to it")
    steps: dict[str, Vertex] = {}
    equal: dict[str, list[Vertex]] = {}  # vertices of one digest, possibly with different notes
    lines = _Lines(sources or {})
    for vertex in _inputs_first(state.vertex):
        if (first := steps.setdefault(vertex.digest, vertex)) is not vertex:
            equal.setdefault(vertex.digest, [first]).append(vertex)
        if vertex.note.location is not None:
            lines.add(vertex.digest, vertex.note.location)
    described = {name: step.encoded[1] for name, step in steps.items()}
    described |= {name: entry(2, name, _merged_metadata(vertices)) for name, vertices in equal.items()}
    result = ops_pb2.Op(inputs=[ops_pb2.Input(digest=state.vertex.digest, index=state.index)])
    data = b"".join(
        (
            *(step.encoded[0] for step in steps.values()),
            field(1, serialize(result)),
            *(described[name] for name in sorted(described)),
            *lines.encoded(),
        )
    )
    if len(data) > _LIMIT:
        largest = max(steps.values(), key=lambda step: len(step.op))
        raise SpecError(
            f"the graph has {len(data)} bytes, {len(largest.op)} of them in `{largest.note.name or largest.digest}`: "
            "more than 16 MiB",
            hint="large file contents belong in a local source",
        )
    return Definition(
        data=data,
        ops=tuple(step.op for step in steps.values()),
        digests=tuple(steps),
        head=state.vertex.digest,
        index=state.index,
    )


def _inputs_first(head: Vertex) -> list[Vertex]:
    """Return each vertex once, after its inputs. Does not recurse: a graph may be thousands of steps deep."""
    order: list[Vertex] = []
    path: list[Vertex] = []
    seen: set[Vertex] = set()
    todo: list[Vertex | None] = [head]
    while todo:
        vertex = todo.pop()
        if vertex is None:  # all inputs of the last vertex of the path are in order
            order.append(path.pop())
        elif vertex not in seen:
            seen.add(vertex)
            if vertex.inputs:
                path.append(vertex)
                todo.append(None)
                todo.extend(reversed(vertex.inputs))
            else:
                order.append(vertex)
    return order


def _merged_metadata(equal: Sequence[Vertex]) -> bytes:
    """Return the metadata of vertices with one digest: the first name counts, and one `ignore_cache` is enough."""
    message = ops_pb2.OpMetadata()
    for vertex in reversed(equal):
        own = metadata(vertex.caps, vertex.note)
        if own.HasField("progress_group"):
            message.ClearField("progress_group")
        message.MergeFrom(own)
    return serialize(message)


class _Lines:
    """The graph's map from steps to lines of the user's files."""

    def __init__(self, sources: Mapping[str, bytes]) -> None:
        self._sources = sources
        self._files: dict[str, int] = {}
        self._lines: dict[str, dict[tuple[int, int], None]] = {}

    def add(self, digest: str, location: Location) -> None:
        """Add the line of a step, without duplicates."""
        file = self._files.setdefault(location.file, len(self._files))
        self._lines.setdefault(digest, {})[file, location.line] = None

    def encoded(self) -> list[bytes]:
        """Return the definition's source field; an empty list without lines."""
        if not self._lines:
            return []
        encoded: dict[tuple[tuple[int, int], ...], bytes] = {}  # most steps come from few lines
        parts = []
        for name in sorted(self._lines):
            lines = tuple(self._lines[name])
            if lines not in encoded:
                encoded[lines] = serialize(ops_pb2.Locations(locations=[_location(*line) for line in lines]))
            parts.append(entry(1, name, encoded[lines]))
        for file in self._files:
            info = ops_pb2.SourceInfo(filename=utf8(file), data=self._sources.get(file, b""), language="python")
            parts.append(field(2, serialize(info)))
        return [field(3, b"".join(parts))]


def _location(file: int, line: int) -> ops_pb2.Location:
    position = ops_pb2.Position(line=line)
    return ops_pb2.Location(sourceIndex=file, ranges=[ops_pb2.Range(start=position, end=position)])
