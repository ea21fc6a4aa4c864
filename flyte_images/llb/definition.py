"""A State -> the bytes that BuildKit is sent, and back. Pure; the same bytes every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from ..errors import Location, SpecError
from .pb import ops_pb2
from .state import State, Vertex, digest, metadata, serialize, utf8
from .wire import entry, field

_LIMIT = (16 << 20) - (64 << 10)  # BuildKit takes messages up to 16 MiB; the rest of the request needs some room


@dataclass(frozen=True, slots=True, repr=False)
class Definition:
    """A graph, ready to be solved.

    `data` is what a solve request carries. `ops` are the operations, each behind those that it reads, and `digests`
    their names; `head` is the name of the one whose output `index` is the result.
    """

    data: bytes
    ops: tuple[bytes, ...]
    digests: tuple[str, ...]
    head: str
    index: int

    def to_pb(self) -> ops_pb2.Definition:
        """The message, a new one at each call."""
        return ops_pb2.Definition.FromString(self.data)

    @classmethod
    def from_pb(cls, message: ops_pb2.Definition) -> Definition:
        """Take a graph from elsewhere; raises SpecError unless it is whole."""
        *ops, last = getattr(message, "def") or [b""]
        try:
            inputs = ops_pb2.Op.FromString(last).inputs
        except DecodeError:
            raise SpecError("not a graph: its end is damaged") from None
        digests = tuple(digest(op) for op in ops)
        if len(inputs) != 1 or inputs[0].digest not in digests:
            raise SpecError("not a graph: it does not end with its result")
        return cls(
            data=serialize(message),
            ops=tuple(ops),
            digests=digests,
            head=inputs[0].digest,
            index=inputs[0].index,
        )

    def __repr__(self) -> str:
        return f"Definition({len(self.ops)} ops, {self.head})"


def marshal(state: State, *, sources: Mapping[str, bytes] | None = None) -> Definition:
    """Return the graph that makes `state`.

    `sources` are the user's files by name, of which the engine quotes the line of a step that fails; the lines are
    known, and told by this client's errors, without them too.
    """
    if state.vertex is None:
        raise SpecError("there is nothing to build: the result is empty", hint="add at least one file to it")
    steps: dict[str, Vertex] = {}
    same: dict[str, list[Vertex]] = {}  # steps that were made several times, maybe under other names
    lines = _Lines(sources or {})
    for vertex in _inputs_first(state.vertex):
        if (first := steps.setdefault(vertex.digest, vertex)) is not vertex:
            same.setdefault(vertex.digest, [first]).append(vertex)
        if vertex.note.location is not None:
            lines.add(vertex.digest, vertex.note.location)
    told = {name: step.written[1] for name, step in steps.items()}
    told |= {name: entry(2, name, _tell_all(vertices)) for name, vertices in same.items()}
    result = ops_pb2.Op(inputs=[ops_pb2.Input(digest=state.vertex.digest, index=state.index)])
    data = b"".join(
        (
            *(step.written[0] for step in steps.values()),
            field(1, serialize(result)),
            *(told[name] for name in sorted(told)),
            *lines.written(),
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
    """Each vertex once, behind all that it reads. Does not recurse: a graph may be thousands of steps deep."""
    order: list[Vertex] = []
    path: list[Vertex] = []
    seen: set[Vertex] = set()
    todo: list[Vertex | None] = [head]
    while todo:
        vertex = todo.pop()
        if vertex is None:  # all that the last of the path reads is in order
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


def _tell_all(same: Sequence[Vertex]) -> bytes:
    """The metadata of a step that was made several times: the first name counts, and it is run if one says so."""
    message = ops_pb2.OpMetadata()
    for vertex in reversed(same):
        said = metadata(vertex.caps, vertex.note)
        if said.HasField("progress_group"):
            message.ClearField("progress_group")
        message.MergeFrom(said)
    return serialize(message)


class _Lines:
    """The graph's map from steps to lines of the user's files."""

    def __init__(self, sources: Mapping[str, bytes]) -> None:
        self._sources = sources
        self._files: dict[str, int] = {}
        self._places: dict[str, dict[tuple[int, int], None]] = {}

    def add(self, digest: str, location: Location) -> None:
        """Note a step's line, each once."""
        file = self._files.setdefault(location.file, len(self._files))
        self._places.setdefault(digest, {})[file, location.line] = None

    def written(self) -> list[bytes]:
        """The definition's field, if there is one."""
        if not self._places:
            return []
        written: dict[tuple[tuple[int, int], ...], bytes] = {}  # most steps come from few lines
        parts = []
        for name in sorted(self._places):
            places = tuple(self._places[name])
            if places not in written:
                written[places] = serialize(ops_pb2.Locations(locations=[_location(*place) for place in places]))
            parts.append(entry(1, name, written[places]))
        for file in self._files:
            info = ops_pb2.SourceInfo(filename=utf8(file), data=self._sources.get(file, b""), language="python")
            parts.append(field(2, serialize(info)))
        return [field(3, b"".join(parts))]


def _location(file: int, line: int) -> ops_pb2.Location:
    place = ops_pb2.Position(line=line)
    return ops_pb2.Location(sourceIndex=file, ranges=[ops_pb2.Range(start=place, end=place)])
