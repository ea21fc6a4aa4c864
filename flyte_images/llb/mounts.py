"""What a command sees beside its root: other states, caches, memory, secrets, agents. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ..errors import SpecError
from .pb import ops_pb2
from .state import State, scratch


class Sharing(Enum):
    """What happens when two commands want the same cache: use it together, get another one, or wait."""

    SHARED = "SHARED"
    PRIVATE = "PRIVATE"
    LOCKED = "LOCKED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount of a command; made by the functions below. `wire` is what BuildKit is told of it, but for the input
    and output, which depend on the command's other mounts."""

    dest: str
    state: State = field(default_factory=scratch)
    has_output: bool = False
    wire: bytes
    caps: frozenset[str]


def bind(dest: str, state: State, *, selector: str = "", readonly: bool = True) -> Mount:
    """`state`, or what lies at `selector` in it. Where it is writable, what the command writes is thrown away."""
    if state.vertex is None:
        raise SpecError(f"the mount at `{dest}` has no source", hint="mount a tmpfs, or an output")
    caps = {"exec.mount.bind"} | ({"exec.mount.selector"} if selector else set())
    if not readonly:
        caps.add("exec.mount.bind.readwrite-nooutput")
    return _mount(ops_pb2.Mount(dest=dest, selector=selector, readonly=readonly), state=state, caps=caps)


def output(dest: str, state: State | None = None) -> Mount:
    """A writable copy of `state` (default: empty); the result is `Exec.output(dest)`."""
    return _mount(ops_pb2.Mount(dest=dest), state=state or scratch(), has_output=True, caps={"exec.mount.bind"})


def cache(dest: str, *, id: str, sharing: Sharing = Sharing.SHARED, seed: State | None = None) -> Mount:
    """A directory that the engine keeps between builds under `id`, `seed` being what is in it at first.

    Its content is in no digest and no cache key: the command must give the same result whatever it finds there.
    """
    if not id:
        raise SpecError(f"the cache at `{dest}` has no id")
    option = ops_pb2.CacheOpt(ID=id, sharing=ops_pb2.CacheSharingOpt.Value(sharing.value))
    message = ops_pb2.Mount(dest=dest, mountType=ops_pb2.CACHE, cacheOpt=option)
    return _mount(message, state=seed or scratch(), caps={"exec.mount.cache", "exec.mount.cache.sharing"})


def tmpfs(dest: str, *, size: int | None = None) -> Mount:
    """Memory, at most `size` bytes, empty at the start and gone at the end."""
    if size is not None and size <= 0:
        raise SpecError(f"the tmpfs at `{dest}` has a size of {size} bytes", hint="leave the size out for no limit")
    message = ops_pb2.Mount(dest=dest, mountType=ops_pb2.TMPFS)
    if size is None:
        return _mount(message, caps={"exec.mount.tmpfs"})
    message.TmpfsOpt.size = size
    return _mount(message, caps={"exec.mount.tmpfs", "exec.mount.tmpfs.size"})


def secret(dest: str, *, id: str, mode: int = 0o400, uid: int = 0, gid: int = 0, optional: bool = False) -> Mount:
    """The client's secret `id` as a read-only file. Its value is in no digest, no cache key and no layer."""
    option = ops_pb2.SecretOpt(ID=_id(id, dest), mode=mode, uid=uid, gid=gid, optional=optional)
    message = ops_pb2.Mount(dest=dest, mountType=ops_pb2.SECRET, secretOpt=option)
    return _mount(message, caps={"exec.mount.secret"})


def ssh(
    dest: str, *, id: str = "default", mode: int = 0o600, uid: int = 0, gid: int = 0, optional: bool = False
) -> Mount:
    """The socket of the client's ssh agent `id`; the command finds it when SSH_AUTH_SOCK says `dest`."""
    option = ops_pb2.SSHOpt(ID=_id(id, dest), mode=mode, uid=uid, gid=gid, optional=optional)
    message = ops_pb2.Mount(dest=dest, mountType=ops_pb2.SSH, SSHOpt=option)
    return _mount(message, caps={"exec.mount.ssh"})


def _id(id: str, dest: str) -> str:
    if not id:
        raise SpecError(f"the mount at `{dest}` has no id")
    return id


def _mount(message: ops_pb2.Mount, *, caps: set[str], state: State | None = None, has_output: bool = False) -> Mount:
    return Mount(
        dest=message.dest,
        state=state or scratch(),
        has_output=has_output,
        wire=message.SerializeToString(deterministic=True),
        caps=frozenset(caps),
    )
