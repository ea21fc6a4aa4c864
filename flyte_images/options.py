"""How a task runs, as its environment, its decorator and a call may say it: checked where it is written, then a value.

The later one wins: environment, `@env.task(...)`, `task.override(...)`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal, TypedDict, TypeVar

from flyte_images_runtime.portable.suggest import did_you_mean
from flyte_images_runtime.resources.accelerators import Device, GPUAccelerator
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.resources.quantity import parse_size
from flyte_images_runtime.resources.request import Resources
from flyte_images_runtime.task.spec import Hardening, Mount

from ._validate import at, caller
from .errors import Location, SpecError

_VARIABLE = re.compile(r"[^=\0]+")
_CAPABILITY = re.compile(r"(CAP_)?[A-Z_]+")
_NETWORKS = ("none", "outbound", "host")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that the task needs and nobody else may see: read from this process's environment when a task starts.

    It reaches the task as the variable `as_env_var` (default: the key in capitals) or as a file at `mount`; it is in no
    image, no container configuration and no log.

    >>> Secret("hf-token").variable
    'HF_TOKEN'
    """

    key: str
    as_env_var: str | None = None
    mount: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", self.key):
            raise SpecError(f"{self.key!r} is not a secret's key", hint='Secret("hf-token")', location=caller())
        if self.mount is not None and not self.mount.startswith("/"):
            raise SpecError(f"mount=`{self.mount}` is not an absolute path", location=caller())

    @property
    def variable(self) -> str:
        """The variable that holds the value, here and (unless it is mounted) in the task."""
        return self.as_env_var or re.sub(r"[^A-Za-z0-9_]", "_", self.key).upper()


def _at_least(name: str, value: Any, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < 10**9:
        raise SpecError(f"{name}={value!r} is not a number of {least:g} or more", location=caller())


@dataclass(frozen=True, slots=True)
class RetryStrategy:
    """Up to `count` further attempts, `backoff` seconds apart and `factor` times longer each time, `cap` at most."""

    count: int = 0
    backoff: float = 0.5
    factor: float = 2.0
    cap: float = 30.0

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int) or not 0 <= self.count <= 1000:
            raise SpecError(f"retries={self.count!r} is not a number of retries", hint="retries=3", location=caller())
        for name, least in (("backoff", 0.0), ("factor", 1.0), ("cap", 0.0)):
            _at_least(name, getattr(self, name), least)

    def pause(self, attempt: int) -> float:
        """Seconds before attempt number `attempt` + 1.

        >>> [RetryStrategy(count=9).pause(n) for n in (1, 2, 3, 9)]
        [0.5, 1.0, 2.0, 30.0]
        """
        return float(min(self.cap, self.backoff * self.factor ** (attempt - 1)))


@dataclass(frozen=True, slots=True)
class ReusePolicy:
    """Keep containers warm: `replicas` at most, each gone after `idle_ttl` seconds unused or `max_calls` calls.

    Each call is a `fork` of the container's process: it finds nothing of the calls before it. With fork=False calls are
    performed in that process itself, which is quicker, and what one has loaded (a model, a connection) the next one
    finds; so it does what else one has left, in memory, in /tmp and as processes. The limits are the same for both.
    """

    replicas: int = 1
    idle_ttl: float = 60.0
    max_calls: int = 1000
    fork: bool = True

    def __post_init__(self) -> None:
        for name in ("replicas", "max_calls"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SpecError(f"{name}={value!r} is not a number of one or more", location=caller())
        _at_least("idle_ttl", self.idle_ttl, 0.0)


Cache = Literal["disable", "auto"]
Nested = Literal["shared", "own"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything about how a task runs that is not its code and its image."""

    resources: Resources | None = None
    accelerator: GPUAccelerator | Device | str | None = None
    env_vars: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()
    timeout: float | None = None
    retries: RetryStrategy = field(default_factory=RetryStrategy)
    cache: Cache = "disable"
    reusable: ReusePolicy | None = None
    network: Literal["none", "outbound", "host"] | tuple[str, ...] = "outbound"
    mounts: tuple[Mount, ...] = ()
    workdir: str | None = None
    hardening: Hardening = field(default_factory=Hardening)
    gpu_wait: float = 0.0
    nested: Nested | None = None
    max_result: int | None = None

    def limits(self) -> Limits:
        """What the task is held to."""
        return (self.resources or Resources()).limits(self.accelerator)

    def changed(self, given: Settings, location: Location) -> Options:
        """These options with what `given` says; SpecError for what no task can have."""
        changes: dict[str, Any] = {}
        hardening: dict[str, Any] = {}
        with at(location):
            for name, value in _one_spelling(dict(given), location).items():
                if name not in _CHECKS:
                    raise SpecError(f"there is no option `{name}`", hint=_near(name), location=location)
                checked = _CHECKS[name](value, location)
                if name in Hardening.__dataclass_fields__:
                    hardening[name] = checked
                else:
                    changes[name] = checked
            if hardening:
                changes["hardening"] = replace(self.hardening, **hardening)
            made = replace(self, **changes)
            made.limits()
        return made


class Settings(TypedDict, total=False):
    """What `TaskEnvironment(...)`, `@env.task(...)` and `task.override(...)` take by name."""

    limits: Resources | None
    resources: Resources | None
    accelerator: GPUAccelerator | Device | str | None
    env_vars: Mapping[str, str] | None
    secrets: str | Secret | Sequence[str | Secret] | None
    timeout: float | timedelta | None
    retries: int | RetryStrategy
    cache: Cache
    reusable: ReusePolicy | bool | Literal["off"] | None
    network: Literal["none", "outbound", "host"] | Sequence[str]
    mounts: Sequence[str | Mount]
    workdir: str | None
    user: str | int | None
    read_only_root: bool
    capabilities: Sequence[str]
    seccomp: Literal["default", "unconfined"]
    new_privileges: bool
    pids: int
    runtime: str | None
    gpu_wait: float
    nested: Nested | None
    max_result: str | int | None


def _one_spelling(given: dict[str, Any], location: Location) -> dict[str, Any]:
    limits = given.pop("limits", None)
    if limits is None:
        return given
    if given.get("resources") is not None:
        raise SpecError(
            "limits= and resources= are two names of one thing", hint="leave out one of the two", location=location
        )
    return {**given, "resources": limits}


def _near(name: str) -> str:
    return did_you_mean(name, [*_CHECKS, "limits"]) or "the options are limits, " + ", ".join(_CHECKS)


def _resources(value: Any, location: Location) -> Resources | None:
    if value is not None and not isinstance(value, Resources):
        raise SpecError(
            f"limits={value!r} is not a Resources", hint='limits=Resources(cpu="2", memory="4Gi")', location=location
        )
    return value


def _env_vars(value: Any, location: Location) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise SpecError(f"env_vars={value!r} is not a mapping", hint='env_vars={"NAME": "value"}', location=location)
    for name, text in value.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise SpecError(f"{name!r} is not a variable's name", hint='env_vars={"NAME": "value"}', location=location)
        if not isinstance(text, str) or "\0" in text:
            raise SpecError(
                f"env_vars: the value of `{name}` is no text: {text!r}", hint=f'"{name}": "{text}"', location=location
            )
    return tuple(value.items())


def _secrets(value: Any, location: Location) -> tuple[Secret, ...]:
    if value is None:
        return ()
    several = (value,) if isinstance(value, (str, Secret)) else tuple(value)
    for one in several:
        if not isinstance(one, (str, Secret)):
            raise SpecError(f"secrets: {one!r} is no Secret", hint='secrets=[Secret("hf-token")]', location=location)
    return tuple(Secret(one) if isinstance(one, str) else one for one in several)


def _timeout(value: Any, location: Location, name: str = "timeout") -> float | None:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds is None or (seconds == 0 and not isinstance(seconds, bool)):
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < 10**9:
        raise SpecError(f"{name}={value!r} is no time", hint=f"seconds or a timedelta: {name}=90", location=location)
    return float(seconds)


def _retries(value: Any, location: Location) -> RetryStrategy:
    return value if isinstance(value, RetryStrategy) else RetryStrategy(value)


def _cache(value: Any, location: Location) -> Cache:
    known: dict[Any, Cache] = {"disable": "disable", "off": "disable", False: "disable", None: "disable"}
    known |= {"auto": "auto", "enable": "auto", "on": "auto", True: "auto"}
    if not isinstance(value, (str, bool, type(None))) or value not in known:
        raise SpecError(f"cache={value!r} is no way to cache", hint='"auto" or "disable"', location=location)
    return known[value]


def _reusable(value: Any, location: Location) -> ReusePolicy | None:
    if value in (None, False, "off"):
        return None
    if value is True:
        return ReusePolicy()
    if not isinstance(value, ReusePolicy):
        raise SpecError(f"reusable={value!r} is no ReusePolicy", hint="reusable=ReusePolicy()", location=location)
    return value


def _one_of(name: str, known: Sequence[str | None]) -> Callable[[Any, Location], Any]:
    def check(value: Any, location: Location) -> Any:
        if value not in known:
            raise SpecError(
                f"{name}={value!r} is not known", hint="one of " + ", ".join(map(str, known)), location=location
            )
        return value

    return check


def _network(value: Any, location: Location) -> str | tuple[str, ...]:
    if isinstance(value, str):
        if value in _NETWORKS:
            return value
        hint = f'one of {", ".join(_NETWORKS)}, or a list of names: network=["example.org", "*.example.com:443"]'
        raise SpecError(f"network={value!r} is not known", hint=hint, location=location)
    from flyte_images_runtime.egress.allowlist import parse

    several = tuple(value) if isinstance(value, Iterable) else (value,)
    for one in several:
        try:
            if not isinstance(one, str):
                raise ValueError(f"{one!r} is not a name, an address or a network")
            if one in _NETWORKS:
                raise ValueError(f"`{one}` stands alone, not in a list")
            parse(one)
        except ValueError as error:
            hint = 'network=["example.org", "*.example.com:443", "10.0.0.0/8"]'
            raise SpecError(f"network: {error}", hint=hint, location=location) from None
    return several or "none"


def _mounts(value: Any, location: Location) -> tuple[Mount, ...]:
    several = (value,) if isinstance(value, (str, Mount)) else tuple(value or ())
    return tuple(one if isinstance(one, Mount) else _mount(one, location) for one in several)


def _mount(text: Any, location: Location) -> Mount:
    parts = text.split(":") if isinstance(text, str) else []
    mode = parts.pop() if len(parts) == 3 else "ro"
    if len(parts) != 2 or mode not in ("ro", "rw") or not parts[1].startswith("/"):
        raise SpecError(
            f"mounts: {text!r} is no mount", hint='"data:/data" or "results:/results:rw"', location=location
        )
    near = os.path.dirname(location.file) if os.path.isfile(location.file) else ""  # noqa: PTH113, PTH120
    source = os.path.abspath(os.path.join(near, os.path.expanduser(parts[0])))  # noqa: PTH100, PTH111, PTH118
    if not os.path.exists(source):  # noqa: PTH110
        raise SpecError(f"mounts: there is no `{parts[0]}` at `{source}`", location=location)
    return Mount(source=source, target=parts[1], read_only=mode == "ro")


def _workdir(value: Any, location: Location) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.startswith("/")):
        raise SpecError(f"workdir={value!r} is not an absolute path", location=location)
    text: str | None = value
    return text


def _user(value: Any, location: Location) -> str | None:
    if value is None:
        return None
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,10}(:[0-9]{1,10})?", text):
        raise SpecError(
            f"user={value!r} is no user", hint='numbers: user="1000:1000"; "0:0" is root', location=location
        )
    return text if ":" in text else f"{text}:{text}"


def _flag(name: str) -> Callable[[Any, Location], bool]:
    def check(value: Any, location: Location) -> bool:
        if not isinstance(value, bool):
            raise SpecError(f"{name}={value!r} is neither True nor False", location=location)
        return value

    return check


def _capabilities(value: Any, location: Location) -> tuple[str, ...]:
    several: Iterable[Any] = (value,) if isinstance(value, str) else tuple(value or ())
    for one in several:
        if not isinstance(one, str) or not _CAPABILITY.fullmatch(one) or one == "ALL":
            raise SpecError(f"{one!r} is not a capability", hint='capabilities=["SYS_NICE"]', location=location)
    return tuple(one.removeprefix("CAP_") for one in several)


def _pids(value: Any, location: Location) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 8 <= value <= 4194304:
        raise SpecError(f"pids={value!r} is no number of processes", hint="pids=4096", location=location)
    return value


def _runtime(value: Any, location: Location) -> str | None:
    if value is not None and (not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value)):
        raise SpecError(f"runtime={value!r} is no OCI runtime", hint='runtime="runsc"', location=location)
    text: str | None = value
    return text


def _gpu_wait(value: Any, location: Location) -> float:
    return _timeout(value, location, "gpu_wait") or 0.0


def _max_result(value: Any, location: Location) -> int | None:
    """The bytes that a result may hold."""
    return None if value is None else parse_size(value, name="max_result")


_CHECKS: dict[str, Callable[[Any, Location], Any]] = {
    "resources": _resources,
    "accelerator": lambda value, location: value,
    "env_vars": _env_vars,
    "secrets": _secrets,
    "timeout": _timeout,
    "retries": _retries,
    "cache": _cache,
    "reusable": _reusable,
    "network": _network,
    "mounts": _mounts,
    "workdir": _workdir,
    "user": _user,
    "read_only_root": _flag("read_only_root"),
    "capabilities": _capabilities,
    "seccomp": _one_of("seccomp", ("default", "unconfined")),
    "new_privileges": _flag("new_privileges"),
    "pids": _pids,
    "runtime": _runtime,
    "gpu_wait": _gpu_wait,
    "nested": _one_of("nested", (None, "shared", "own")),
    "max_result": _max_result,
}
