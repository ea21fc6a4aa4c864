"""The values of a graph: State, Vertex, Platform, Note. Pure: bytes in, bytes and digests out.

A vertex is named by the sha256 of its bytes, which contain the names of its inputs. So the digest is known as soon as
the vertex exists, and nothing that is added later can change the digest. Everything that decides the result is in the
bytes. A `Note`, which is for people, is stored beside the bytes and never changes the digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from types import MappingProxyType

from google.protobuf.message import Message

from flyte_images_runtime.system.platform import Platform

from ..errors import Location, SpecError
from .pb import ops_pb2
from .wire import entry, field

_BODIES = ops_pb2.ExecOp | ops_pb2.SourceOp | ops_pb2.FileOp | ops_pb2.MergeOp | ops_pb2.DiffOp


@dataclass(frozen=True, slots=True)
class Group:
    """Steps that the progress display shows as one line."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """The description of a step for people, and cache settings; never part of a digest.

    The progress display shows `name`. `location` is the line of the user's file that asked for the step; an error of
    the step quotes that line. `ignore_cache` runs the step again. The engine's records keep `description`.
    """

    name: str = ""
    group: Group | None = None
    location: Location | None = None
    ignore_cache: bool = False
    description: Mapping[str, str] = attribute(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "description", MappingProxyType(dict(sorted(self.description.items()))))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Vertex:
    """One operation: its bytes as BuildKit writes them, the digest of the bytes, and the vertices that are its inputs.

    `encoded` holds two fields of a serialized graph: the operation and its metadata. They are serialized once for all
    graphs that contain this vertex.
    """

    op: bytes
    digest: str
    inputs: tuple[Vertex, ...]
    caps: frozenset[str]
    note: Note
    encoded: tuple[bytes, bytes]

    def __repr__(self) -> str:
        return f"Vertex({self.note.name or self.digest})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class State:
    """A file system: one output of a vertex, or empty (`scratch()`). States are equal if vertex and output are."""

    vertex: Vertex | None
    index: int = 0

    @property
    def digest(self) -> str | None:
        """The digest of the vertex, or None for scratch."""
        return self.vertex.digest if self.vertex else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and (self.digest, self.index) == (other.digest, other.index)

    def __hash__(self) -> int:
        return hash((self.digest, self.index))

    def __repr__(self) -> str:
        return f"State({self.vertex!r}, {self.index})" if self.vertex else "scratch()"


def scratch() -> State:
    """Return the empty file system."""
    return State(None)


class Inputs:
    """The list of states that one vertex reads, without duplicates."""

    def __init__(self) -> None:
        self._indices: dict[State, int] = {}

    @property
    def states(self) -> list[State]:
        """The collected states, in order."""
        return list(self._indices)

    def index(self, state: State) -> int:
        """Add `state` if it is new, and return its index; -1 for scratch."""
        if state.vertex is None:
            return -1
        return self._indices.setdefault(state, len(self._indices))


def vertex(
    body: _BODIES,
    *,
    inputs: Sequence[State] = (),
    platform: Platform | None = None,
    caps: Iterable[str] = (),
    note: Note | None = None,
) -> Vertex:
    """Return a vertex of `body` with the fields that all operations have."""
    parents = tuple(state.vertex for state in inputs if state.vertex is not None)
    head = ops_pb2.Op(
        inputs=[
            ops_pb2.Input(digest=parent.digest, index=state.index)
            for state, parent in zip(inputs, parents, strict=True)
        ],
        platform=_platform(platform) if platform else None,
    )
    # BuildKit names a vertex by the bytes that BuildKit itself writes, and it writes the operation after the platform
    # although the operation's field number is lower. With another order the build works, but events and errors carry
    # other digests.
    op = serialize(head) + serialize(_wrap(body))
    name, caps, note = digest(op), frozenset(caps), note or Note()
    encoded = (field(1, op), entry(2, name, serialize(metadata(caps, note))))
    return Vertex(op=op, digest=name, inputs=parents, caps=caps, note=note, encoded=encoded)


def _platform(platform: Platform) -> ops_pb2.Platform:
    return ops_pb2.Platform(OS=platform.os, Architecture=platform.architecture, Variant=platform.variant)


def text(value: str, what: str) -> str:
    """Return `value`. Raise SpecError, which names `what`, unless BuildKit accepts the value: Unicode without NUL."""
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise SpecError(
            f"{what} {value!r} contains bytes that cannot be sent", hint="BuildKit accepts UTF-8 without NUL"
        )
    return value


def utf8(text: str) -> str:
    """Return `text` with escapes for bytes that are not UTF-8: a name that only people read must not fail a build."""
    return text.encode(errors="backslashreplace").decode()


def serialize(message: Message) -> bytes:
    """Return the bytes of a message. Equal messages have equal bytes: maps are sorted by key."""
    return message.SerializeToString(deterministic=True)


def digest(data: bytes) -> str:
    """Return the digest of `data`, `sha256:...`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def metadata(caps: frozenset[str], note: Note) -> ops_pb2.OpMetadata:
    """Return a graph's metadata of a step: capabilities, description, progress group."""
    described = {**note.description, "llb.customname": note.name} if note.name else note.description
    message = ops_pb2.OpMetadata(
        ignore_cache=note.ignore_cache,
        description={key: utf8(value) for key, value in described.items()},
        caps=dict.fromkeys(caps, True),
    )
    if note.group is not None:
        message.progress_group.id = utf8(note.group.id)
        message.progress_group.name = utf8(note.group.name)
    return message


def _wrap(body: _BODIES) -> ops_pb2.Op:
    match body:
        case ops_pb2.ExecOp():
            return ops_pb2.Op(exec=body)
        case ops_pb2.SourceOp():
            return ops_pb2.Op(source=body)
        case ops_pb2.FileOp():
            return ops_pb2.Op(file=body)
        case ops_pb2.MergeOp():
            return ops_pb2.Op(merge=body)
        case ops_pb2.DiffOp():
            return ops_pb2.Op(diff=body)
