"""A command as a vertex: what it runs, what it sees, what comes out. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from ..errors import SpecError
from .mounts import Mount
from .pb import ops_pb2
from .state import Inputs, Note, Platform, State, scratch, text, vertex

_NO_OUTPUT = -1  # proto3's default, 0, would be an output


class Network(Enum):
    """NONE: no network, and quicker to start; UNSET: the engine's usual bridge; HOST: the engine's own."""

    UNSET = "UNSET"
    HOST = "HOST"
    NONE = "NONE"


class Security(Enum):
    """INSECURE runs with all privileges, on engines that allow it."""

    SANDBOX = "SANDBOX"
    INSECURE = "INSECURE"


@dataclass(frozen=True, slots=True, order=True)
class SecretEnv:
    """The client's secret `id` as the environment variable `name`."""

    name: str
    id: str
    optional: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Ulimit:
    """A limit as setrlimit has it: `Ulimit("nofile", 1024, 4096)`."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Exec:
    """What a command leaves: its root and the mounts made by `output`."""

    root: State
    outputs: Mapping[str, State]

    def output(self, dest: str) -> State:
        """The result of the output mount at `dest`."""
        try:
            return self.outputs[dest]
        except KeyError:
            known = ", ".join(self.outputs) or "none"
            raise SpecError(f"the command has no output mount at `{dest}`", hint=f"it has: {known}") from None


def run(
    root: State | None,
    args: Sequence[str],
    *,
    platform: Platform,
    env: Mapping[str, str] | None = None,
    cwd: str = "/",
    user: str = "",
    hostname: str = "",
    network: Network = Network.NONE,
    security: Security = Security.SANDBOX,
    mounts: Sequence[Mount] = (),
    secret_env: Sequence[SecretEnv] = (),
    readonly_root: bool = False,
    extra_hosts: Mapping[str, str] | None = None,
    ulimits: Sequence[Ulimit] = (),
    valid_exit_codes: Sequence[int] = (),
    devices: Sequence[str] = (),
    note: Note | None = None,
) -> Exec:
    """Run `args` (an argv: no shell) on `root`; without network unless one is asked for.

    The order in which variables, mounts and the like are given is of no account. `devices` are qualified CDI names;
    `valid_exit_codes` replace 0. A read-only root comes out as it went in.

    >>> run(None, ["true"], platform=Platform("linux", "amd64")).root.index
    0
    """
    _check(args, cwd, mounts)
    meta = ops_pb2.Meta(
        args=args,
        env=[f"{name}={value}" for name, value in sorted(_variables(env or {}))],
        cwd=cwd,
        user=user,
        hostname=hostname,
        removeMountStubsRecursive=True,  # the places of mounts do not stay behind in the layer
        extraHosts=[ops_pb2.HostIP(Host=host, IP=ip) for host, ip in sorted((extra_hosts or {}).items())],
        ulimit=[ops_pb2.Ulimit(Name=it.name, Soft=it.soft, Hard=it.hard) for it in sorted(ulimits)],
        validExitCodes=sorted(set(valid_exit_codes)),
    )
    body = ops_pb2.ExecOp(
        meta=meta,
        network=ops_pb2.NetMode.Value(network.value),
        security=ops_pb2.SecurityMode.Value(security.value),
        secretenv=[ops_pb2.SecretEnv(ID=it.id, name=it.name, optional=it.optional) for it in sorted(secret_env)],
        cdiDevices=[ops_pb2.CDIDevice(name=name) for name in sorted(set(devices))],
    )
    wanted = {
        "exec.meta.base": True,
        "exec.meta.network": network is not Network.UNSET,
        "exec.meta.security": security is not Security.SANDBOX,
        "exec.meta.ulimit": bool(ulimits),
        "exec.meta.cdi": bool(devices),
        "exec.secretenv": bool(secret_env),
        "exec.validexitcode": bool(valid_exit_codes),
    }
    caps = {cap for cap, is_used in wanted.items() if is_used}

    base = root or scratch()
    inputs, outputs = _mount(body, base, mounts, readonly_root=readonly_root)
    if not outputs:
        raise SpecError(f"the command `{args[0]}` has no output", hint="give it a writable root or an output mount")
    caps.update(*(mount.caps for mount in mounts))
    made = vertex(body, inputs=inputs, platform=platform, caps=caps, note=note)
    states = {dest: State(made, index) for index, dest in enumerate(outputs)}
    return Exec(root=states.pop("/", base), outputs=MappingProxyType(states))


def _mount(
    body: ops_pb2.ExecOp, base: State, mounts: Sequence[Mount], *, readonly_root: bool
) -> tuple[list[State], list[str]]:
    """Add the root and then `mounts` by path; return what the command reads, and where its outputs lie."""
    inputs = Inputs()
    outputs = [] if readonly_root else ["/"]
    body.mounts.add(
        input=inputs.index(base), dest="/", readonly=readonly_root, output=_NO_OUTPUT if readonly_root else 0
    )
    for mount in sorted(mounts, key=lambda mount: mount.dest):
        message = ops_pb2.Mount.FromString(mount.wire)
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
    for path in (cwd, *(mount.dest for mount in mounts)):
        if not path.startswith("/") or posixpath.normpath(text(path, "the path")) != path:
            raise SpecError(f"`{path}` is not a plain absolute path", hint="no `..`, no `//`, no `/` at its end")
    places = [mount.dest for mount in mounts]
    for place in places:
        if place == "/" or places.count(place) > 1:
            raise SpecError(f"two mounts at `{place}`")


def _variables(env: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for name, value in env.items():
        if not name or "=" in name:
            raise SpecError(f"`{name}` is not the name of an environment variable")
        yield text(name, "the variable"), text(value, f"the value of `{name}`")
