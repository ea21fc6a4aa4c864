"""The values that a graph is made of: State, Vertex, Platform, Note. Pure: bytes in, bytes and digests out.

A vertex is named by the sha256 of its bytes, which hold the names of its inputs; so its digest is known as soon as it
is made, and nothing that is added later can change it. What decides the result is in the bytes; what only tells people
about it (`Note`) is beside them and never in the digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from types import MappingProxyType

from google.protobuf.message import Message

from ..errors import Location, SpecError
from .pb import ops_pb2
from .wire import entry, field

_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}
_BODIES = ops_pb2.ExecOp | ops_pb2.SourceOp | ops_pb2.FileOp | ops_pb2.MergeOp | ops_pb2.DiffOp


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image or a command is for.

    >>> str(Platform.parse("linux/aarch64")), Platform.parse("linux/arm/v7").variant
    ('linux/arm64', 'v7')
    """

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Parse `os/architecture[/variant]`; other names of the same architecture give the same platform."""
        os, _, rest = text.partition("/")
        architecture, _, variant = rest.partition("/")
        architecture = _ARCHITECTURES.get(architecture, architecture)
        if not os or not architecture or "/" in variant:
            raise SpecError(f"`{text}` is not a platform", hint="write it like linux/amd64 or linux/arm/v7")
        if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
            variant = ""  # the only one there was: images are published without it
        return cls(os, architecture, variant)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    def message(self) -> ops_pb2.Platform:
        return ops_pb2.Platform(OS=self.os, Architecture=self.architecture, Variant=self.variant)


@dataclass(frozen=True, slots=True)
class Group:
    """Steps that are one thing to the user: progress shows them as one."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What people are told of a step, and how the engine treats it; never part of its digest.

    `name` is shown in progress, `location` is the line of the user's file that asked for the step and is quoted when
    it fails, `ignore_cache` runs it again, `description` is kept in the engine's records.
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
    """One operation: its bytes as BuildKit writes them, their digest, and the vertices that it reads.

    `written` is what a graph holds of it, the operation and its metadata: made once for all graphs that it is in.
    """

    op: bytes
    digest: str
    inputs: tuple[Vertex, ...]
    caps: frozenset[str]
    note: Note
    written: tuple[bytes, bytes]

    def __repr__(self) -> str:
        return f"Vertex({self.note.name or self.digest})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class State:
    """A file system: one output of a vertex, or nothing (`scratch()`). Equal where vertex and output are."""

    vertex: Vertex | None
    index: int = 0

    @property
    def digest(self) -> str | None:
        """The digest of the vertex; None of scratch."""
        return self.vertex.digest if self.vertex else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and (self.digest, self.index) == (other.digest, other.index)

    def __hash__(self) -> int:
        return hash((self.digest, self.index))

    def __repr__(self) -> str:
        return f"State({self.vertex!r}, {self.index})" if self.vertex else "scratch()"


def scratch() -> State:
    """The empty file system."""
    return State(None)


class Inputs:
    """Collects what one vertex reads, each output once, and says where it stands in the list."""

    def __init__(self) -> None:
        self._places: dict[State, int] = {}

    @property
    def states(self) -> list[State]:
        """What was collected, in order."""
        return list(self._places)

    def index(self, state: State) -> int:
        """The place of `state`; -1 for scratch."""
        if state.vertex is None:
            return -1
        return self._places.setdefault(state, len(self._places))


def vertex(
    body: _BODIES,
    *,
    inputs: Sequence[State] = (),
    platform: Platform | None = None,
    caps: Iterable[str] = (),
    note: Note | None = None,
) -> Vertex:
    """Make a vertex: `body` under the fields that all operations have."""
    parents = tuple(state.vertex for state in inputs if state.vertex is not None)
    head = ops_pb2.Op(
        inputs=[
            ops_pb2.Input(digest=parent.digest, index=state.index)
            for state, parent in zip(inputs, parents, strict=True)
        ],
        platform=platform.message() if platform else None,
    )
    # BuildKit names a vertex by the bytes that it writes itself, and it writes the operation behind the platform
    # although its field number is lower. In another order the build works, but events and errors carry other digests.
    op = serialize(head) + serialize(_wrap(body))
    name, caps, note = digest(op), frozenset(caps), note or Note()
    told = serialize(metadata(caps, note))
    return Vertex(
        op=op, digest=name, inputs=parents, caps=caps, note=note, written=(field(1, op), entry(2, name, told))
    )


def text(value: str, what: str) -> str:
    """Return `value` if BuildKit can be told it: Unicode without NUL."""
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise SpecError(
            f"{what} {value!r} holds bytes that cannot be sent", hint="UTF-8 without NUL is what BuildKit takes"
        )
    return value


def utf8(text: str) -> str:
    """What people are told may hold the bytes of any file name, and must not fail a build."""
    return text.encode(errors="backslashreplace").decode()


def serialize(message: Message) -> bytes:
    """Write a message: the same bytes each time, maps sorted by key."""
    return message.SerializeToString(deterministic=True)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def metadata(caps: frozenset[str], note: Note) -> ops_pb2.OpMetadata:
    """What a graph says of a step beside what it does."""
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
