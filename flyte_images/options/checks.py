"""One option as the user wrote it -> its checked value, or SpecError with the user's line and a remedy."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from flyte_images_runtime.resources.quantity import parse_size
from flyte_images_runtime.resources.request import Resources
from flyte_images_runtime.task.spec import Mount

from .._validate import local_path
from ..errors import Location, SpecError
from .policies import RetryStrategy, ReusePolicy, Secret

Cache = Literal["disable", "auto"]
Nested = Literal["shared", "own"]

_VARIABLE = re.compile(r"[^=\0]+")
_CAPABILITY = re.compile(r"(CAP_)?[A-Z_]+")
_NETWORKS = ("none", "outbound", "host")
_PIDS = (8, 4194304)  # the second is the kernel's own limit


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
                f"env_vars: the value of `{name}` is not a string: {text!r}",
                hint=f'"{name}": "{text}"',
                location=location,
            )
    return tuple(value.items())


def _secrets(value: Any, location: Location) -> tuple[Secret, ...]:
    if value is None:
        return ()
    items = (value,) if isinstance(value, (str, Secret)) else tuple(value)
    for item in items:
        if not isinstance(item, (str, Secret)):
            raise SpecError(
                f"secrets: {item!r} is not a Secret", hint='secrets=[Secret("hf-token")]', location=location
            )
    return tuple(Secret(item) if isinstance(item, str) else item for item in items)


def _timeout(value: Any, location: Location, name: str = "timeout") -> float | None:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds is None or (seconds == 0 and not isinstance(seconds, bool)):
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < 10**9:
        raise SpecError(f"{name}={value!r} is not a time", hint=f"seconds or a timedelta: {name}=90", location=location)
    return float(seconds)


def _retries(value: Any, location: Location) -> RetryStrategy:
    return value if isinstance(value, RetryStrategy) else RetryStrategy(value)


def _cache(value: Any, location: Location) -> Cache:
    known: dict[Any, Cache] = {"disable": "disable", "off": "disable", False: "disable", None: "disable"}
    known |= {"auto": "auto", "enable": "auto", "on": "auto", True: "auto"}
    if not isinstance(value, (str, bool, type(None))) or value not in known:
        raise SpecError(f"cache={value!r} is not known", hint='"auto" or "disable"', location=location)
    return known[value]


def _reusable(value: Any, location: Location) -> ReusePolicy | None:
    if value in (None, False, "off"):
        return None
    if value is True:
        return ReusePolicy()
    if not isinstance(value, ReusePolicy):
        raise SpecError(f"reusable={value!r} is not a ReusePolicy", hint="reusable=ReusePolicy()", location=location)
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

    items = tuple(value) if isinstance(value, Iterable) else (value,)
    for item in items:
        try:
            if not isinstance(item, str):
                raise ValueError(f"{item!r} is not a name, an address or a network")
            if item in _NETWORKS:
                raise ValueError(f"`{item}` cannot be in a list: give it alone")
            parse(item)
        except ValueError as error:
            hint = 'network=["example.org", "*.example.com:443", "10.0.0.0/8"]'
            raise SpecError(f"network: {error}", hint=hint, location=location) from None
    return items or "none"


def _mounts(value: Any, location: Location) -> tuple[Mount, ...]:
    items = (value,) if isinstance(value, (str, Mount)) else tuple(value or ())
    return tuple(item if isinstance(item, Mount) else _mount(item, location) for item in items)


def _mount(text: Any, location: Location) -> Mount:
    parts = text.split(":") if isinstance(text, str) else []
    mode = parts.pop() if len(parts) == 3 else "ro"
    if len(parts) != 2 or mode not in ("ro", "rw") or not parts[1].startswith("/"):
        raise SpecError(
            f"mounts: {text!r} is not a mount", hint='"data:/data" or "results:/results:rw"', location=location
        )
    source = local_path(parts[0], location)
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
            f"user={value!r} is not a user", hint='give numbers: user="1000:1000"; "0:0" is root', location=location
        )
    return text if ":" in text else f"{text}:{text}"


def _flag(name: str) -> Callable[[Any, Location], bool]:
    def check(value: Any, location: Location) -> bool:
        if not isinstance(value, bool):
            raise SpecError(f"{name}={value!r} is not True or False", location=location)
        return value

    return check


def _capabilities(value: Any, location: Location) -> tuple[str, ...]:
    items: Iterable[Any] = (value,) if isinstance(value, str) else tuple(value or ())
    for item in items:
        if not isinstance(item, str) or not _CAPABILITY.fullmatch(item) or item == "ALL":
            raise SpecError(f"{item!r} is not a capability", hint='capabilities=["SYS_NICE"]', location=location)
    return tuple(item.removeprefix("CAP_") for item in items)


def _pids(value: Any, location: Location) -> int:
    least, most = _PIDS
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        message = f"pids={value!r} is not a number of processes from {least} to {most}"
        raise SpecError(message, hint="pids=4096", location=location)
    return value


def _runtime(value: Any, location: Location) -> str | None:
    if value is not None and (not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value)):
        raise SpecError(f"runtime={value!r} is not an OCI runtime", hint='runtime="runsc"', location=location)
    text: str | None = value
    return text


def _gpu_wait(value: Any, location: Location) -> float:
    return _timeout(value, location, "gpu_wait") or 0.0


def _max_result(value: Any, location: Location) -> int | None:
    """Return the number of bytes that a result may hold."""
    return None if value is None else parse_size(value, name="max_result")


CHECKS: dict[str, Callable[[Any, Location], Any]] = {
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
