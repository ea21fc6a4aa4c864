"""Changes to a file system that need no command: mkdir, mkfile, copy, rm, symlink. Pure.

proto3's defaults would mean the year 1970 and the mode 0; here what is not given is left as it is. Give a `timestamp`
(nanoseconds since 1970), to `file` or to an action, for layers of the same bytes at every build.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..errors import SpecError
from .pb import ops_pb2
from .state import Inputs, Note, State, scratch, text, vertex

_NONE = -1  # scratch, no output, no timestamp, no mode

_Body = (
    ops_pb2.FileActionCopy
    | ops_pb2.FileActionMkFile
    | ops_pb2.FileActionMkDir
    | ops_pb2.FileActionRm
    | ops_pb2.FileActionSymlink
)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns what an action makes: ids, or names as /etc/passwd and /etc/group of the state below have them."""

    user: int | str = 0
    group: int | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One change; made by the functions below."""

    body: bytes  # serialized, so that no one can change it any more
    type: type[_Body]
    owner: Owner | None = None
    timestamp: int | None = None
    source: State = field(default_factory=scratch)
    caps: frozenset[str] = frozenset()


def file(
    base: State | None, actions: Sequence[Action], *, timestamp: int | None = None, note: Note | None = None
) -> State:
    """Do `actions` one after the other on `base` (None: on nothing); all of them are one layer.

    `timestamp` is for the actions that have none of their own.
    """
    below = base or scratch()
    if not actions:
        return below
    inputs = Inputs()
    inputs.index(below)
    sources = [inputs.index(action.source) for action in actions]
    caps = {"file.base"}.union(*(action.caps for action in actions))
    count = len(inputs.states)
    body = ops_pb2.FileOp()
    for number, (action, source) in enumerate(zip(actions, sources, strict=True)):
        if action.timestamp is None:
            action = replace(action, timestamp=timestamp)
        last = number == len(actions) - 1
        body.actions.append(
            _message(
                _finish(action, below),
                # of the first action: the base; of the others: the one before, counted on from the inputs
                input=count + number - 1 if number else inputs.index(below),
                secondary=source,
                output=0 if last else _NONE,
            )
        )
    return State(vertex(body, inputs=inputs.states, caps=caps, note=note))


def mkdir(
    path: str,
    *,
    mode: int = 0o755,
    make_parents: bool = False,
    owner: Owner | None = None,
    timestamp: int | None = None,
) -> Action:
    """Make a directory. The engine's umask is taken off its mode."""
    body = ops_pb2.FileActionMkDir(path=_path(path), mode=mode, makeParents=make_parents)
    return _action(body, owner=owner, timestamp=timestamp)


def mkfile(
    path: str, data: bytes, *, mode: int = 0o644, owner: Owner | None = None, timestamp: int | None = None
) -> Action:
    """Write a file; its directory must be there. Large contents belong in a source: a graph is at most 16 MiB."""
    return _action(ops_pb2.FileActionMkFile(path=_path(path), mode=mode, data=data), owner=owner, timestamp=timestamp)


def symlink(target: str, path: str, *, owner: Owner | None = None, timestamp: int | None = None) -> Action:
    """Make `path` a link that says `target`, word for word."""
    if not target:
        raise SpecError(f"the link `{path}` has no target")
    body = ops_pb2.FileActionSymlink(oldpath=text(target, "the target"), newpath=_path(path))
    return _action(body, owner=owner, timestamp=timestamp, caps={"file.symlink.create"})


def rm(path: str, *, missing_ok: bool = False, wildcard: bool = False) -> Action:
    """Remove a file, or a directory with all in it."""
    body = ops_pb2.FileActionRm(path=_path(path), allowNotFound=missing_ok, allowWildcard=wildcard)
    return _action(body, caps={"file.rm.wildcard"} if wildcard else set())


def copy(
    source: State,
    src: str,
    dst: str,
    *,
    contents: bool = True,
    make_parents: bool = True,
    mode: int | str | None = None,
    owner: Owner | None = None,
    timestamp: int | None = None,
    follow_symlinks: bool = False,
    wildcard: bool = False,
    allow_empty_wildcard: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    required: Sequence[str] = (),
    replace_existing: bool = False,
    unpack: bool = False,
) -> Action:
    """Copy `src` of `source` to `dst`.

    With `contents` a folder's contents come to lie in `dst`, there or not; without, `dst/<name>` if `dst` is there and
    `dst` itself if not. `mode` is a number or as chmod has it ("u=rwX,go=rX"; newer engines). `include` and `exclude`
    are patterns below `src`; paths that begin as one of `required` (from the root of `source`) must be among what
    they leave (newer engines). `replace_existing` replaces a file by a folder and the like. `unpack` takes an archive
    apart. With a `wildcard`, as in the shell, `dst` ends with a slash.
    """
    if source.vertex is None:
        raise SpecError(f"`{src}` is copied from a state that is empty")
    body = ops_pb2.FileActionCopy(
        src=_path(src),
        dest=_path(dst),
        mode=mode if isinstance(mode, int) else (_NONE if mode is None else 0),
        modeStr=mode if isinstance(mode, str) else "",
        followSymlink=follow_symlinks,
        dirCopyContents=contents,
        attemptUnpackDockerCompatibility=unpack,
        createDestPath=make_parents,
        allowWildcard=wildcard,
        allowEmptyWildcard=allow_empty_wildcard,
        include_patterns=include,
        exclude_patterns=exclude,
        required_paths=required,
        alwaysReplaceExistingDestPaths=replace_existing,
    )
    wanted = {
        "file.copy.includeexcludepatterns": include or exclude,
        "file.copy.requiredpaths": required,
        "file.copy.alwaysreplaceexistingdestpaths": replace_existing,
        "file.copy.modestring": isinstance(mode, str),
    }
    caps = {cap for cap, is_used in wanted.items() if is_used}
    return _action(body, owner=owner, timestamp=timestamp, source=source, caps=caps)


def _action(
    body: _Body,
    *,
    owner: Owner | None = None,
    timestamp: int | None = None,
    source: State | None = None,
    caps: set[str] | None = None,
) -> Action:
    return Action(
        body=body.SerializeToString(deterministic=True),
        type=type(body),
        owner=owner,
        timestamp=timestamp,
        source=source or scratch(),
        caps=frozenset(caps or ()),
    )


def _finish(action: Action, base: State) -> _Body:
    """The action's message with what could not be known before: the time, and where names of owners are looked up."""
    body = action.type.FromString(action.body)
    if isinstance(body, ops_pb2.FileActionRm):
        return body
    body.timestamp = _NONE if action.timestamp is None else action.timestamp
    if action.owner is not None:
        body.owner.user.CopyFrom(_user(action.owner.user, base))
        if action.owner.group is not None:
            body.owner.group.CopyFrom(_user(action.owner.group, base))
    return body


def _user(user: int | str, base: State) -> ops_pb2.UserOpt:
    if isinstance(user, int):
        return ops_pb2.UserOpt(byID=user)
    if base.vertex is None:
        raise SpecError(f"no state below that knows the owner `{user}`", hint="give the id")
    return ops_pb2.UserOpt(byName=ops_pb2.NamedUserOpt(name=user, input=0))  # the base is the first input


def _message(body: _Body, *, input: int, secondary: int, output: int) -> ops_pb2.FileAction:
    action = ops_pb2.FileAction(input=input, secondaryInput=secondary, output=output)
    match body:
        case ops_pb2.FileActionCopy():
            action.copy.CopyFrom(body)
        case ops_pb2.FileActionMkFile():
            action.mkfile.CopyFrom(body)
        case ops_pb2.FileActionMkDir():
            action.mkdir.CopyFrom(body)
        case ops_pb2.FileActionRm():
            action.rm.CopyFrom(body)
        case ops_pb2.FileActionSymlink():
            action.symlink.CopyFrom(body)
    return action


def _path(path: str) -> str:
    """The path without its `.` and `//`; a slash at its end stays, as it means a folder to copy."""
    if not text(path, "the path").startswith("/") or ".." in path.split("/"):
        raise SpecError(f"`{path}` is not an absolute path in the image", hint="it begins with / and has no `..`")
    normal = "/" + posixpath.normpath(path).lstrip("/")
    return normal + "/" if path.endswith("/") and normal != "/" else normal
