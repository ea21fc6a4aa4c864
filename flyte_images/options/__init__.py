"""How a task runs: options that an environment, a decorator or a call gives, checked where they are written.

The later one wins: environment, `@env.task(...)`, `task.override(...)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal, TypedDict

from flyte_images_runtime.portable.suggest import did_you_mean
from flyte_images_runtime.resources.accelerators import Device, GPUAccelerator
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.resources.request import Resources
from flyte_images_runtime.task.spec import Hardening, Mount

from .._validate import at
from ..errors import Location, SpecError
from .checks import CHECKS, Cache, Nested
from .policies import RetryStrategy, ReusePolicy, Secret

__all__ = ["Cache", "Nested", "Options", "RetryStrategy", "ReusePolicy", "Secret", "Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All options of a task: how it runs, apart from its code and its image. `TaskEnvironment` explains each.

    >>> Options(resources=Resources(memory="1Gi")).limits().memory
    1073741824
    """

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
        """Return the upper bounds of the task."""
        return (self.resources or Resources()).limits(self.accelerator)

    def changed(self, settings: Settings, location: Location) -> Options:
        """Return these options with those of `settings` in their place.

        Raises:
            SpecError: An option does not exist, or its value is not valid.

        >>> Options(timeout=60.0).changed({"retries": 3}, Location("/app.py", 7)).retries.count
        3
        """
        changes: dict[str, Any] = {}
        hardening: dict[str, Any] = {}
        with at(location):
            for name, value in _with_one_name(dict(settings), location).items():
                if name not in CHECKS:
                    hint = did_you_mean(name, [*CHECKS, "limits"]) or "the options are limits, " + ", ".join(CHECKS)
                    raise SpecError(f"there is no option `{name}`", hint=hint, location=location)
                checked = CHECKS[name](value, location)
                (hardening if name in Hardening.__dataclass_fields__ else changes)[name] = checked
            if hardening:
                changes["hardening"] = replace(self.hardening, **hardening)
            options = replace(self, **changes)
            options.limits()  # raises SpecError if resources and accelerator contradict each other
        return options


class Settings(TypedDict, total=False):
    """The options of `TaskEnvironment(...)`, `@env.task(...)` and `task.override(...)`, by name.

    >>> fast: Settings = {"timeout": 60, "retries": 2}
    """

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


def _with_one_name(settings: dict[str, Any], location: Location) -> dict[str, Any]:
    """Return the settings with `limits` under the name `resources`."""
    limits = settings.pop("limits", None)
    if limits is None:
        return settings
    if settings.get("resources") is not None:
        raise SpecError(
            "limits= and resources= are two names of one option", hint="leave out one of the two", location=location
        )
    return {**settings, "resources": limits}
