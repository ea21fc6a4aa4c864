"""What an engine and the worker report -> the error that the caller gets, or none. Pure: one place for all engines."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import (
    Cancelled,
    DiskFull,
    ImageCannotStart,
    InvalidArgument,
    InvalidResult,
    Killed,
    NotSerializable,
    OutOfMemory,
    Process,
    Raised,
    Remote,
    TaskError,
    TimedOut,
)
from ..resources.limits import Limits
from ..resources.metrics import Usage
from ..resources.quantity import format_size
from ..task.disk import USUAL
from ..task.engine import Ending
from ..task.spec import TaskSpec
from ..values import Problem

_NAME, _MESSAGE, _TRACEBACK, _BASES = 1_000, 100_000, 1_000_000, 100  # letters, and classes, of what a task raised
_KILLED = 128 + 9
_LOST_CALLER = 113
_WORKER = "/worker/start.py"
_ENDED_EARLY = re.compile(
    # what runc, crun and their callers say when the first process is gone before they are done with it
    r"init-p: (broken pipe|connection reset)|final child's pid|from the init process|sync socket|oom-killed"
    r"|stopped process|container that has stopped|signal: killed|unexpected eof"
    r"|/proc/\d+/ns/\S+ .*no such file|%!w\(<nil>\)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the worker left in `out`: whatever it holds, the task may have written it."""

    result: dict[str, Any] | None = None
    usage: Usage = field(default_factory=Usage)
    largest: tuple[Process, ...] = ()
    files: int = 0
    """Bytes of files in memory, where the kernel told it: those in /tmp and /dev/shm."""
    status: int | None = None
    unreadable: Problem | None = None
    printed: str = ""
    """The last lines of its log, for an end of which nothing else is known."""


def judge(spec: TaskSpec, ending: Ending, report: Report) -> TaskError | None:
    """Return what went wrong; None if there is a result."""
    if ending.cancelled:
        return Cancelled(f"task `{spec.task}` was cancelled", task=spec.task)
    if ending.timed_out:
        return TimedOut(
            f"task `{spec.task}` was ended at its time limit of {spec.timeout:g} s",
            task=spec.task,
            hint="give it more with timeout=, or less to do",
        )
    if report.unreadable is not None:
        return InvalidResult(
            f"the result of task `{spec.task}` cannot be read: {report.unreadable}",
            task=spec.task,
            hint=report.unreadable.hint,
        )
    if report.result is not None and ending.exit_status == 0 and "result" in report.result:
        return None
    if _ran_out_of_memory(spec, ending, report):
        return _out_of_memory(spec, ending, report)
    if report.result is not None and "error" in report.result:
        return raised(report.result["error"], spec.task, spec.limits)
    return _without_report(spec, ending, report)


def _ran_out_of_memory(spec: TaskSpec, ending: Ending, report: Report) -> bool:
    """Was the task, not just one of its children, ended by the kernel at its limit?"""
    if ending.exit_status == 0:
        return False
    said = report.result is not None and "error" in report.result
    killed = ending.exit_status == _KILLED or report.status == 9
    usage = ending.usage.or_else(report.usage)
    if ending.oom_killed or (usage.oom_kills or 0) > 0:
        # a child was killed and the task itself reports something else: that is then what happened to the task
        return killed or not said
    limit, peak = spec.limits.memory, usage.peak_memory
    # engines that do not tell (podman 4 on cgroup v1): killed, and never further from the limit than a page
    return killed and limit is not None and peak is not None and peak >= limit - 4096


def _out_of_memory(spec: TaskSpec, ending: Ending, report: Report) -> OutOfMemory:
    limit = spec.limits.memory
    peak = ending.usage.or_else(report.usage).peak_memory
    if limit is None:
        return OutOfMemory(
            f"task `{spec.task}` was killed by the kernel: this host ran out of memory",
            task=spec.task,
            hint='give the environment a limit: Resources(memory="4Gi")',
            peak=peak,
            processes=report.largest,
        )
    suggested = suggested_limit(limit)
    text = f"task `{spec.task}` was killed: it needs more than its memory limit of {format_size(limit)}"
    holders = list(_holders(report, worth=limit // 20))
    if holders:
        text += f" (last seen: {', '.join(holders)})"
    less = (
        "write large files to a mount: /tmp and /dev/shm are memory"
        if report.files > limit // 2
        else "hold less at once"
    )
    return OutOfMemory(
        text,
        task=spec.task,
        hint=f'raise the limit, for a start to Resources(memory="{format_size(suggested)}"), or {less}',
        limit=limit,
        peak=peak,
        suggested=suggested,
        processes=report.largest,
    )


def _holders(report: Report, *, worth: int) -> Iterator[str]:
    """Who had the memory, as far as it is worth telling."""
    if report.files >= worth:
        yield f"files in /tmp and /dev/shm {format_size(report.files >> 20 << 20)}"
    by_name: dict[str, list[int]] = {}
    for process in report.largest:
        if process.memory >= worth:
            name = "the task itself" if _WORKER in process.command else f"`{process.command or process.pid}`"
            by_name.setdefault(name, []).append(process.memory)
    for name, sizes in by_name.items():
        largest = format_size(max(sizes) >> 20 << 20)
        # no sum: pages that processes share, as forks do, are counted in each
        yield f"{len(sizes)} x {name} of up to {largest} each" if len(sizes) > 1 else f"{name} {largest}"


def suggested_limit(limit: int) -> int:
    """Twice as much, in a round number: how far it would have gone is not known.

    >>> suggested_limit(256 << 20) == 512 << 20
    True
    """
    step = 64 << 20
    return -(-2 * limit // step) * step


def raised(error: Any, task: str, limits: Limits | None = None) -> TaskError:
    """The worker's description of what was raised -> the error. It may say anything: nothing is made from its names."""
    if not isinstance(error, dict):
        return InvalidResult(f"task `{task}` left an error that cannot be read", task=task)
    said = _begin(error.get("message"), _MESSAGE)
    if error.get("unfit") == "argument":
        return InvalidArgument(f"task `{task}`: {said}", task=task, hint=_text(error.get("hint")))
    if error.get("unfit") == "result":
        return NotSerializable(f"task `{task}`: {said}", task=task, hint=_text(error.get("hint")))
    remote = remote_of(error)
    if remote.errno == errno.ENOSPC and remote.has("OSError"):
        return DiskFull(
            f"task `{task}` found no room left to write: {remote.message}",
            task=task,
            hint=_more_room(limits or Limits()),
        )
    return Raised(remote, task=task, hint=_hint(remote))


def _more_room(limits: Limits) -> str:
    """Which limit it is that a full disk has met."""
    if limits.disk is not None:
        larger = format_size(2 * limits.disk)
        return f'results and /tmp share disk=: write to a mount, or raise the limit: Resources(disk="{larger}")'
    if limits.shm is not None:
        larger = format_size(2 * limits.shm)
        return f'/tmp and /dev/shm hold shm= each: write to a mount, or raise it: Resources(shm="{larger}")'
    return (
        "/tmp and /dev/shm are memory, as large as its limit: write to a mount, or raise memory=; "
        f'results take {format_size(USUAL)} at most: raise it with Resources(disk="{format_size(2 * USUAL)}")'
    )


def remote_of(error: dict[str, Any], depth: int = 0) -> Remote:
    """The data of one exception, and of those that led to it."""
    cause = error.get("cause")
    number = error.get("errno")
    bases = error.get("bases")
    return Remote(
        type=_begin(error.get("type"), _NAME) or "Exception",
        message=_begin(error.get("message"), _MESSAGE),
        traceback=_begin(error.get("traceback"), _TRACEBACK),
        errno=number if isinstance(number, int) and 0 <= number < 1 << 16 else None,
        bases=tuple(_begin(base, _NAME) for base in bases[:_BASES]) if isinstance(bases, list) else (),
        cause=remote_of(cause, depth + 1) if isinstance(cause, dict) and depth < 20 else None,
    )


def _begin(value: Any, longest: int) -> str:
    """The first letters of a text that a container has sent; of what is not a text, none."""
    return value[:longest] if isinstance(value, str) else ""


def _hint(remote: Remote) -> str | None:
    if remote.type == "ModuleNotFoundError":
        name = remote.message.partition("'")[2].partition("'")[0].partition(".")[0]
        return f'the image has no module `{name}`: add its package with `with_pip_packages("...")`' if name else None
    if remote.errno == errno.EROFS:
        return "the image is read-only to a task: write to /tmp or to a mount, or read_only_root=False"
    return None


def _text(value: Any) -> str | None:
    return value[:_MESSAGE] if isinstance(value, str) else None


def _without_report(spec: TaskSpec, ending: Ending, report: Report) -> TaskError:
    status = ending.exit_status
    if status == 0 or report.status == 0:
        return Killed(
            f"task `{spec.task}` ended its process before it had a result",
            task=spec.task,
            hint="os._exit and exec leave no result: return from the function",
            exit_status=status,
        )
    if status > 128:
        return Killed(
            f"task `{spec.task}` was ended by signal {status - 128}{_signal_name(status - 128)}",
            task=spec.task,
            hint=_signal_hint(status - 128),
            exit_status=status,
        )
    if report.status is None and report.result is None and status != _LOST_CALLER:  # not even its first process ran
        return _never_began(spec, status, report.printed)
    if status == _LOST_CALLER:
        return Killed(f"task `{spec.task}` ended because its caller went away", task=spec.task, exit_status=status)
    return Killed(
        f"task `{spec.task}` ended with status {status} and left no result",
        task=spec.task,
        hint="the last lines of its log may say why",
        exit_status=status,
    )


def killed_at_start(said: str, spec: TaskSpec, usage: Usage) -> TaskError | None:
    """What a runtime says of a first process that was killed before it could begin -> the error; None: it was not.

    `usage` is the cgroup's: the kernel counts there what it kills at the limit.
    """
    if (usage.oom_kills or 0) > 0 or "oom-killed" in said.lower():
        return _out_of_memory(spec, Ending(exit_status=_KILLED, oom_killed=True, usage=usage), Report())
    if _ENDED_EARLY.search(said) is None:
        return None
    return Killed(
        f"task `{spec.task}` was killed before it could begin: {said}",
        task=spec.task,
        hint="somebody else killed its first process, or the host ran out of memory",
        exit_status=_KILLED,
    )


def _never_began(spec: TaskSpec, status: int, printed: str) -> ImageCannotStart:
    """The image's Python did not get as far as our own program."""
    if "exec format error" in printed.lower():
        return ImageCannotStart(
            f"`{spec.python}` of image {spec.image} is for another kind of processor, or no program: {printed}",
            task=spec.task,
            hint="build the image for this machine's platform",
        )
    said = f": {printed}" if printed else " and printed nothing"
    return ImageCannotStart(
        f"task `{spec.task}` could not begin: `{spec.python}` of image {spec.image} ended with status {status}{said}",
        task=spec.task,
        hint="a task's image needs Python 3.8 or newer",
    )


def _signal_name(number: int) -> str:
    import signal

    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""


def _signal_hint(number: int) -> str | None:
    if number in (11, 7, 4, 6):
        return "native code crashed; `python -X faulthandler` (env_vars PYTHONFAULTHANDLER=1) shows where"
    return "somebody else stopped it: `flyte-images stop`, `docker stop`, or the host shutting down"
