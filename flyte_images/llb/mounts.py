"""What a command sees besides its root: other states, an output directory, memory and secrets. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import SpecError
from .pb import ops_pb2
from .state import State, scratch


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount of a command, made by the functions below.

    `message` is BuildKit's message without the input and output numbers, which depend on the command's other mounts.
    """

    dest: str
    state: State = field(default_factory=scratch)
    has_output: bool = False
    message: bytes
    caps: frozenset[str]


def bind(dest: str, state: State, *, selector: str = "") -> Mount:
    """Mount `state`, or the path `selector` inside `state`, read-only at `dest`."""
    if state.vertex is None:
        raise SpecError(f"the mount at `{dest}` has no source", hint="mount a tmpfs, or an output")
    caps = {"exec.mount.bind"} | ({"exec.mount.selector"} if selector else set())
    return _mount(ops_pb2.Mount(dest=dest, selector=selector, readonly=True), state=state, caps=caps)


def output(dest: str) -> Mount:
    """Mount an empty writable directory at `dest`; `Exec.output(dest)` is what the command leaves in the directory."""
    return _mount(ops_pb2.Mount(dest=dest), has_output=True, caps={"exec.mount.bind"})


def tmpfs(dest: str) -> Mount:
    """Mount memory at `dest`: empty when the command starts, gone when the command ends."""
    return _mount(ops_pb2.Mount(dest=dest, mountType=ops_pb2.TMPFS), caps={"exec.mount.tmpfs"})


def secret(dest: str, *, id: str, mode: int = 0o400, optional: bool = False) -> Mount:
    """Mount the client's secret `id` as a read-only file. The value is in no digest, no cache key and no layer."""
    if not id:
        raise SpecError(f"the secret at `{dest}` has no id")
    option = ops_pb2.SecretOpt(ID=id, mode=mode, optional=optional)
    message = ops_pb2.Mount(dest=dest, mountType=ops_pb2.SECRET, secretOpt=option)
    return _mount(message, caps={"exec.mount.secret"})


def _mount(message: ops_pb2.Mount, *, caps: set[str], state: State | None = None, has_output: bool = False) -> Mount:
    return Mount(
        dest=message.dest,
        state=state or scratch(),
        has_output=has_output,
        message=message.SerializeToString(deterministic=True),
        caps=frozenset(caps),
    )
