"""A State -> the bytes that BuildKit is sent, and back. Pure; the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from ..errors import SpecError
from .pb import ops_pb2
from .state import State, Vertex, digest, serialize

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
    message = ops_pb2.Definition()
    ops: dict[str, bytes] = {}
    lines = _Lines(message.Source, sources or {})
    for vertex in _inputs_first(state.vertex):
        ops.setdefault(vertex.digest, vertex.op)
        _tell(message.metadata[vertex.digest], vertex)
        lines.add(vertex)
    result = ops_pb2.Op(inputs=[ops_pb2.Input(digest=state.vertex.digest, index=state.index)])
    getattr(message, "def").extend([*ops.values(), serialize(result)])
    definition = Definition.from_pb(message)
    if len(definition.data) > _LIMIT:
        largest = max(ops, key=lambda name: len(ops[name]))
        name = message.metadata[largest].description.get("llb.customname", largest)
        raise SpecError(
            f"the graph has {len(definition.data)} bytes, {len(ops[largest])} of them in `{name}`: more than 16 MiB",
            hint="large file contents belong in a local source",
        )
    return definition


def _inputs_first(head: Vertex) -> Iterator[Vertex]:
    """Each vertex once, behind all that it reads. Does not recurse: a graph may be thousands of steps deep."""
    seen: set[int] = set()
    todo = [(head, False)]
    while todo:
        vertex, is_ready = todo.pop()
        if is_ready:
            yield vertex
        elif id(vertex) not in seen:
            seen.add(id(vertex))
            todo.append((vertex, True))
            todo.extend((below, False) for below in reversed(vertex.inputs))


def _tell(metadata: ops_pb2.OpMetadata, vertex: Vertex) -> None:
    """Add a vertex's note to its metadata. The same step may have been made twice: the first name counts."""
    note = vertex.note
    for cap in vertex.caps:
        metadata.caps[cap] = True
    metadata.ignore_cache |= note.ignore_cache
    described = {**note.description, "llb.customname": note.name} if note.name else note.description
    for key, value in described.items():
        if key not in metadata.description:
            metadata.description[key] = _utf8(value)
    if note.group is not None and not metadata.HasField("progress_group"):
        metadata.progress_group.id = _utf8(note.group.id)
        metadata.progress_group.name = _utf8(note.group.name)


def _utf8(text: str) -> str:
    """What people are told may hold the bytes of any file name, and must not fail a build."""
    return text.encode(errors="backslashreplace").decode()


class _Lines:
    """Fills the graph's map from steps to lines of the user's files."""

    def __init__(self, message: ops_pb2.Source, sources: Mapping[str, bytes]) -> None:
        self.message = message
        self.sources = sources
        self.files: dict[str, int] = {}
        self.seen: set[tuple[str, str, int]] = set()

    def add(self, vertex: Vertex) -> None:
        location = vertex.note.location
        if location is None or (vertex.digest, location.file, location.line) in self.seen:
            return
        self.seen.add((vertex.digest, location.file, location.line))
        if location.file not in self.files:
            self.files[location.file] = len(self.files)
            data = self.sources.get(location.file, b"")
            self.message.infos.add(filename=_utf8(location.file), data=data, language="python")
        place = ops_pb2.Position(line=location.line)
        self.message.locations[vertex.digest].locations.add(
            sourceIndex=self.files[location.file], ranges=[ops_pb2.Range(start=place, end=place)]
        )
