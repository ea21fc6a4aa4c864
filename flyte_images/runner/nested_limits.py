"""What a call may have that a task makes from inside its container: options and limits of its definition, or less.

Definitions are written outside and trusted. What a container says may make a limit smaller, never larger, and no
variable, secret or right.
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
    from .call import Call

_FIELDS = ("cpu", "memory", "gpu", "disk", "shm")
_N = TypeVar("_N", bound=Any)


def overridden(task: Task[..., Any], said: Any) -> Task[..., Any]:
    """The task with the options that a container gave it. SpecError for more than the definition has."""
    if not isinstance(said, dict) or not said:
        return task
    refused = sorted(set(said) - set(SETTINGS))
    if refused:
        raise SpecError(
            f"a task cannot override `{refused[0]}` of a task that it calls",
            hint="write it where the environment of the called task is defined, or in one made with clone_with",
        )
    settings = dict(said)
    for name in ("limits", "resources"):
        if isinstance(settings.get(name), dict):
            settings[name] = _resources(settings[name], task.options.resources or Resources())
        elif name in settings:
            raise SpecError(f"{name} of a called task is not a Resources")
    made = task.override(**settings)
    _check_smaller(task, made)
    return made


def _resources(said: Mapping[str, Any], defined: Resources) -> Resources:
    """What the container says, and for what it leaves out the definition's."""
    said = {"memory" if name == "mem" else name: value for name, value in said.items() if value is not None}
    given = {name: said.get(name, getattr(defined, name)) for name in _FIELDS}
    if "memory" in said and "shm" not in said:
        given["shm"] = None  # as much as the memory, which is less
    return Resources(**given)


def _check_smaller(defined: Task[..., Any], asked: Task[..., Any]) -> None:
    """SpecError if the container asks for more than the definition has."""
    before, after = defined.options.limits(), asked.options.limits()
    for name in ("cpu", "memory", "disk", "shm"):
        most, wanted = getattr(before, name), getattr(after, name)
        if most is not None and wanted is not None and wanted > most:
            shown = [str(value) if name == "cpu" else format_size(value) for value in (wanted, most)]
            raise _too_much(asked, name, *shown)
    if after.gpu != before.gpu:
        raise SpecError(f"a task cannot override the GPU of `{asked.name}`, which it calls")
    most, wanted = defined.options.timeout, asked.options.timeout
    if most is not None and (wanted is None or wanted > most):
        raise _too_much(asked, "timeout", f"{wanted} s", f"{most:g} s")


def _too_much(task: Task[..., Any], name: str, wanted: str, most: str) -> SpecError:
    return SpecError(
        f"a task cannot raise {name} of `{task.name}`, which it calls, to {wanted}: its environment says {most}",
        hint="raise it where the environment is defined, or define another one with clone_with",
    )


def has_own_share(task: Task[..., Any], caller: Call) -> bool:
    """Does a call of the task by `caller` have limits beside its caller's, instead of a part of them?

    `nested=` of its environment says so. Without it: yes, if the definition states a memory or CPU limit, unless
    the call stands below another one of the same environment.
    """
    if task.options.nested is not None:
        return task.options.nested == "own"
    limits = task.options.limits()
    above: Call | None = caller
    while above is not None and above.task.environment is not task.environment:
        above = above.outer
    return above is None and (limits.cpu is not None or limits.memory is not None)


def within(limits: Limits, caller: Limits, *, own: bool) -> Limits:
    """The limits of a nested call: its own where it has them and they count beside the caller's, else at most those.

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
