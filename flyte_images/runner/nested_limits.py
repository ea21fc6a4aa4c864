"""The options and limits of a nested call: those of the called task's definition, or less.

Definitions are written outside of containers and are trusted. A container may lower a limit of a task that it calls.
It may not raise a limit, and it may not set a variable, a secret or a right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.resources.quantity import format_size
from flyte_images_runtime.resources.request import Resources
from flyte_images_runtime.worker.nested_client import SETTINGS

from ..errors import SpecError

if TYPE_CHECKING:
    from ..task import Task
    from .model import ParentCall

_FIELDS = ("cpu", "memory", "gpu", "disk", "shm")
_N = TypeVar("_N", bound=Any)


def override_task(task: Task[..., Any], settings: Any) -> Task[..., Any]:
    """Return the task with the settings that a container sent.

    Raise SpecError for an option that a container may not set, or a limit above the definition's.
    """
    if not isinstance(settings, dict) or not settings:
        return task
    refused = sorted(set(settings) - set(SETTINGS))
    if refused:
        raise SpecError(
            f"a task cannot override `{refused[0]}` of a task that it calls",
            hint="write it where the environment of the called task is defined, or in one made with clone_with",
        )
    settings = dict(settings)
    for name in ("limits", "resources"):
        if isinstance(settings.get(name), dict):
            settings[name] = _resources(settings[name], task.options.resources or Resources())
        elif name in settings:
            raise SpecError(f"{name} of a called task is not a Resources")
    overridden = task.override(**settings)
    _check_not_raised(task, overridden)
    return overridden


def _resources(settings: Mapping[str, Any], defined: Resources) -> Resources:
    """Return the resources that the container sent; the definition's for each field that it left out."""
    settings = {"memory" if name == "mem" else name: value for name, value in settings.items() if value is not None}
    fields = {name: settings.get(name, getattr(defined, name)) for name in _FIELDS}
    if "memory" in settings and "shm" not in settings:
        fields["shm"] = None  # by default the memory limit, which is lower now
    return Resources(**fields)


def _check_not_raised(defined: Task[..., Any], overridden: Task[..., Any]) -> None:
    """Raise SpecError if a limit is above the definition's."""
    before, after = defined.options.limits(), overridden.options.limits()
    for name in ("cpu", "memory", "disk", "shm"):
        most, wanted = getattr(before, name), getattr(after, name)
        if most is not None and wanted is not None and wanted > most:
            shown = [str(value) if name == "cpu" else format_size(value) for value in (wanted, most)]
            raise _raised(overridden, name, *shown)
    if after.gpu != before.gpu:
        raise SpecError(f"a task cannot override the GPU of `{overridden.name}`, which it calls")
    most, wanted = defined.options.timeout, overridden.options.timeout
    if most is not None and (wanted is None or wanted > most):
        raise _raised(overridden, "timeout", f"{wanted} s", f"{most:g} s")


def _raised(task: Task[..., Any], name: str, wanted: str, most: str) -> SpecError:
    return SpecError(
        f"a task cannot raise {name} of `{task.name}`, which it calls, to {wanted}: its environment says {most}",
        hint="raise it where the environment is defined, or define another one with clone_with",
    )


def has_own_share(task: Task[..., Any], caller: ParentCall) -> bool:
    """Return whether a call of the task by `caller` has its limits beside the caller's, not as a part of them.

    `nested=` of the task's environment decides. By default the call has its own share if its definition states a
    memory or CPU limit, unless the caller, or a call above it, is of the same environment.
    """
    if task.options.nested is not None:
        return task.options.nested == "own"
    limits = task.options.limits()
    above: ParentCall | None = caller
    while above is not None and above.task.environment is not task.environment:
        above = above.parent
    return above is None and (limits.cpu is not None or limits.memory is not None)


def within(limits: Limits, caller: Limits, *, own: bool) -> Limits:
    """Return the limits of a nested call. Without its own share, no limit is above the caller's.

    >>> within(Limits(memory=4 << 30), Limits(memory=1 << 30, cpu=2), own=True)
    Limits(cpu=2, memory=4294967296, shm=None, disk=None, gpu=None)
    >>> within(Limits(memory=4 << 30), Limits(memory=1 << 30), own=False).memory == 1 << 30
    True
    """
    cpu, memory = _least(limits.cpu, caller.cpu, own), _least(limits.memory, caller.memory, own)
    shm = None if limits.shm is not None and memory is not None and limits.shm > memory else limits.shm
    return replace(limits, cpu=cpu, memory=memory, shm=shm)


def _least(value: _N | None, most: _N | None, own: bool) -> _N | None:
    if value is None or most is None:
        return most if value is None else value
    return value if own else min(value, most)
