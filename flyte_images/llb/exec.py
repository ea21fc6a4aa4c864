"""A command as a vertex: its words, its mounts, and the states that it leaves. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from flyte_images_runtime.system.platform import Platform

from ..errors import SpecError
from .mounts import Mount
from .pb import ops_pb2
from .state import Inputs, Note, State, scratch, text, vertex

_NO_OUTPUT = -1  # proto3's default, 0, would be an output


class Network(Enum):
    """The network of a command. NONE: no network, which also starts faster; UNSET: the engine's usual bridge."""

    UNSET = "UNSET"
    NONE = "NONE"


@dataclass(frozen=True, slots=True, order=True)
class SecretEnv:
    """The client's secret `id` as the environment variable `name`."""

    name: str
    id: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Exec:
    """What a command leaves: its root, and the directories mounted by `output`."""

    root: State
    outputs: Mapping[str, State]

    def output(self, dest: str) -> State:
        """Return the state of the output mount at `dest`. Raise SpecError if the command has no such mount."""
        try:
            return self.outputs[dest]
        except KeyError:
            names = ", ".join(self.outputs) or "none"
            raise SpecError(f"the command has no output mount at `{dest}`", hint=f"it has: {names}") from None


def run(
    root: State | None,
    args: Sequence[str],
    *,
    platform: Platform,
    env: Mapping[str, str] | None = None,
    cwd: str = "/",
    network: Network = Network.NONE,
    mounts: Sequence[Mount] = (),
    secret_env: Sequence[SecretEnv] = (),
    readonly_root: bool = False,
    note: Note | None = None,
) -> Exec:
    """Run `args` (a list of words, without a shell) on `root`, by default without a network.

    The order of variables and mounts does not change the digest. A read-only root leaves the command unchanged.

    >>> run(None, ["true"], platform=Platform("linux", "amd64")).root.index
    0
    """
    _check(args, cwd, mounts)
    meta = ops_pb2.Meta(
        args=args,
        env=[f"{name}={value}" for name, value in sorted(_variables(env or {}))],
        cwd=cwd,
        removeMountStubsRecursive=True,  # mount points do not stay behind in the layer
    )
    body = ops_pb2.ExecOp(
        meta=meta,
        network=ops_pb2.NetMode.Value(network.value),
        secretenv=[ops_pb2.SecretEnv(ID=it.id, name=it.name, optional=it.optional) for it in sorted(secret_env)],
    )
    caps = {"exec.meta.base"}.union(*(mount.caps for mount in mounts))
    if network is not Network.UNSET:
        caps.add("exec.meta.network")
    if secret_env:
        caps.add("exec.secretenv")

    base = root or scratch()
    inputs, outputs = _mount(body, base, mounts, readonly_root=readonly_root)
    if not outputs:
        raise SpecError(f"the command `{args[0]}` has no output", hint="give it a writable root or an output mount")
    step = vertex(body, inputs=inputs, platform=platform, caps=caps, note=note)
    states = {dest: State(step, index) for index, dest in enumerate(outputs)}
    return Exec(root=states.pop("/", base), outputs=MappingProxyType(states))


def _mount(
    body: ops_pb2.ExecOp, base: State, mounts: Sequence[Mount], *, readonly_root: bool
) -> tuple[list[State], list[str]]:
    """Add the root and then `mounts` by path; return the input states and the paths of the outputs."""
    inputs = Inputs()
    outputs = [] if readonly_root else ["/"]
    body.mounts.add(
        input=inputs.index(base), dest="/", readonly=readonly_root, output=_NO_OUTPUT if readonly_root else 0
    )
    for mount in sorted(mounts, key=lambda mount: mount.dest):
        message = ops_pb2.Mount.FromString(mount.message)
        message.input = inputs.index(mount.state)
        message.output = len(outputs) if mount.has_output else _NO_OUTPUT
        if mount.has_output:
            outputs.append(mount.dest)
        body.mounts.append(message)
    return inputs.states, outputs


def _check(args: Sequence[str], cwd: str, mounts: Sequence[Mount]) -> None:
    if isinstance(args, str) or not args:
        raise SpecError(f"{args!r} is not a command", hint='give its words: ["ls", "-l"]')
    for word in args:
        text(word, "the word")
    dests = [mount.dest for mount in mounts]
    for path in (cwd, *dests):
        if not path.startswith("/") or posixpath.normpath(text(path, "the path")) != path:
            raise SpecError(f"`{path}` is not a plain absolute path", hint="no `..`, no `//`, no `/` at its end")
    for dest in dests:
        if dest == "/" or dests.count(dest) > 1:
            raise SpecError(f"two mounts at `{dest}`")


def _variables(env: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for name, value in env.items():
        if not name or "=" in name:
            raise SpecError(f"`{name}` is not the name of an environment variable")
        yield text(name, "the variable"), text(value, f"the value of `{name}`")
