"""Changes to a file system without a command: mkdir, mkfile and copy. Pure.

The defaults of proto3 would mean the year 1970 and the mode 0; here a field that is not given stays unchanged. Pass a
`timestamp` (nanoseconds since 1970) to `file` for layers that have the same bytes in every build.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import SpecError
from .pb import ops_pb2
from .state import Inputs, Note, State, scratch, text, vertex

_NONE = -1  # scratch, no output, no timestamp, no mode

_Body = ops_pb2.FileActionCopy | ops_pb2.FileActionMkFile | ops_pb2.FileActionMkDir


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One change, made by the functions below."""

    body: bytes  # serialized, so that the message can no longer change
    type: type[_Body]
    source: State = field(default_factory=scratch)


def file(
    base: State | None, actions: Sequence[Action], *, timestamp: int | None = None, note: Note | None = None
) -> State:
    """Apply `actions` in order to `base` (None: an empty file system); all of them make one layer.

    `timestamp`, in nanoseconds since 1970, is the modification time of the files; None leaves the time to the engine.
    """
    below = base or scratch()
    if not actions:
        return below
    inputs = Inputs()
    inputs.index(below)
    sources = [inputs.index(action.source) for action in actions]
    count = len(inputs.states)
    body = ops_pb2.FileOp()
    for number, (action, source) in enumerate(zip(actions, sources, strict=True)):
        change = action.type.FromString(action.body)
        change.timestamp = _NONE if timestamp is None else timestamp
        last = number == len(actions) - 1
        body.actions.append(
            _message(
                change,
                # The first action changes the base. Each other action changes the result of the action before it;
                # results are numbered after the inputs.
                input=count + number - 1 if number else inputs.index(below),
                secondary=source,
                output=0 if last else _NONE,
            )
        )
    return State(vertex(body, inputs=inputs.states, caps={"file.base"}, note=note))


def mkdir(path: str, *, mode: int = 0o755, make_parents: bool = False) -> Action:
    """Make a directory. The engine applies its umask to the mode."""
    return _action(ops_pb2.FileActionMkDir(path=_path(path), mode=mode, makeParents=make_parents))


def mkfile(path: str, data: bytes, *, mode: int = 0o644) -> Action:
    """Write a file into an existing directory. Large contents belong in a source: a graph has at most 16 MiB."""
    return _action(ops_pb2.FileActionMkFile(path=_path(path), mode=mode, data=data))


def copy(source: State, src: str, dst: str, *, unpack: bool = False) -> Action:
    """Copy `src` of `source` to `dst`, and make the parents of `dst`.

    The contents of a directory `src` are copied into `dst`. With `unpack`, an archive is extracted into `dst`.
    """
    if source.vertex is None:
        raise SpecError(f"`{src}` is copied from a state that is empty")
    body = ops_pb2.FileActionCopy(
        src=_path(src),
        dest=_path(dst),
        mode=_NONE,
        dirCopyContents=True,
        attemptUnpackDockerCompatibility=unpack,
        createDestPath=True,
    )
    return _action(body, source=source)


def _action(body: _Body, *, source: State | None = None) -> Action:
    return Action(body=body.SerializeToString(deterministic=True), type=type(body), source=source or scratch())


def _message(body: _Body, *, input: int, secondary: int, output: int) -> ops_pb2.FileAction:
    action = ops_pb2.FileAction(input=input, secondaryInput=secondary, output=output)
    match body:
        case ops_pb2.FileActionCopy():
            action.copy.CopyFrom(body)
        case ops_pb2.FileActionMkFile():
            action.mkfile.CopyFrom(body)
        case ops_pb2.FileActionMkDir():
            action.mkdir.CopyFrom(body)
    return action


def _path(path: str) -> str:
    """Return the path without `.` and `//`. A trailing slash stays: it marks a directory to copy into."""
    if not text(path, "the path").startswith("/") or ".." in path.split("/"):
        raise SpecError(f"`{path}` is not an absolute path in the image", hint="it begins with / and has no `..`")
    normal = "/" + posixpath.normpath(path).lstrip("/")
    return normal + "/" if path.endswith("/") and normal != "/" else normal
