"""The reports of an engine and of the worker -> the error that the caller gets, or none. Pure. For all engines."""

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

_NAME, _MESSAGE, _TRACEBACK, _BASES = 1_000, 100_000, 1_000_000, 100  # bounds of a task's error: letters, and classes
_KILLED = 128 + 9
_LOST_CALLER = 113
_WORKER = "/worker/start.py"
_ENDED_EARLY = re.compile(
    # messages of runc, crun and their callers when the first process ends before they have finished
    r"init-p: (broken pipe|connection reset)|final child's pid|from the init process|sync socket|oom-killed"
    r"|stopped process|container that has stopped|signal: killed|unexpected eof"
    r"|/proc/\d+/ns/\S+ .*no such file|%!w\(<nil>\)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the worker left in `out`. The task may have written any of it."""

    result: dict[str, Any] | None = None
    usage: Usage = field(default_factory=Usage)
    largest: tuple[Process, ...] = ()
    files: int = 0
    """Bytes of files in memory, in /tmp and /dev/shm, if the kernel reported them."""
    status: int | None = None
    unreadable: Problem | None = None
    printed: str = ""
    """The last lines of the log, for an end without any other explanation."""


def judge(spec: TaskSpec, ending: Ending, report: Report) -> TaskError | None:
    """Return the error of a run, or None if it has a result."""
    if ending.cancelled:
        return Cancelled(f"task `{spec.task}` was canceled", task=spec.task)
    if ending.timed_out:
        return TimedOut(
            f"task `{spec.task}` was ended at its time limit of {spec.timeout:g} s",
            task=spec.task,
            hint="give it more time with timeout=, or less work",
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
    """Return whether the kernel killed the task at its limit, and not just one of its children."""
    if ending.exit_status == 0:
        return False
    reported = report.result is not None and "error" in report.result
    killed = ending.exit_status == _KILLED or report.status == 9
    usage = ending.usage.or_else(report.usage)
    if ending.oom_killed or (usage.oom_kills or 0) > 0:
        # the kernel killed a child and the task itself reports something else: the report explains the end
        return killed or not reported
    limit, peak = spec.limits.memory, usage.peak_memory
    # without a report (podman 4 on cgroup v1): the task was killed, at most one page below its limit
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
    """Yield who had the memory, as far as it is worth showing."""
    if report.files >= worth:
        yield f"files in /tmp and /dev/shm {format_size(report.files >> 20 << 20)}"
    by_name: dict[str, list[int]] = {}
    for process in report.largest:
        if process.memory >= worth:
            name = "the task itself" if _WORKER in process.command else f"`{process.command or process.pid}`"
            by_name.setdefault(name, []).append(process.memory)
    for name, sizes in by_name.items():
        largest = format_size(max(sizes) >> 20 << 20)
        # no sum: a page that processes share, as forks do, is counted in each of them
        yield f"{len(sizes)} x {name} of up to {largest} each" if len(sizes) > 1 else f"{name} {largest}"


def suggested_limit(limit: int) -> int:
    """Return twice the limit, in a round number: how much the task would have needed is unknown.

    >>> suggested_limit(256 << 20) == 512 << 20
    True
    """
    step = 64 << 20
    return -(-2 * limit // step) * step


def raised(error: Any, task: str, limits: Limits | None = None) -> TaskError:
    """Return the error for the worker's description of an exception. The task may have written the description."""
    if not isinstance(error, dict):
        return InvalidResult(f"task `{task}` left an error that cannot be read", task=task)
    message = _begin(error.get("message"), _MESSAGE)
    if error.get("unfit") == "argument":
        return InvalidArgument(f"task `{task}`: {message}", task=task, hint=_text(error.get("hint")))
    if error.get("unfit") == "result":
        return NotSerializable(f"task `{task}`: {message}", task=task, hint=_text(error.get("hint")))
    remote = remote_of(error)
    if remote.errno == errno.ENOSPC and remote.has("OSError"):
        return DiskFull(
            f"task `{task}` found no space left to write: {remote.message}",
            task=task,
            hint=_more_room(limits or Limits()),
        )
    return Raised(remote, task=task, hint=_hint(remote))


def _more_room(limits: Limits) -> str:
    """Return a hint that names the limit which a full disk has reached."""
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
    """Return the data of one exception, and of those that led to it."""
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
    """Return the first letters of a text from a container; "" for a value that is not a text."""
    return value[:longest] if isinstance(value, str) else ""


def _hint(remote: Remote) -> str | None:
    if remote.type == "ModuleNotFoundError":
        name = remote.message.partition("'")[2].partition("'")[0].partition(".")[0]
        return f'the image has no module `{name}`: add its package with `with_pip_packages("...")`' if name else None
    if remote.errno == errno.EROFS:
        return "the image is read-only for a task: write to /tmp or to a mount, or read_only_root=False"
    return None


def _text(value: Any) -> str | None:
    return value[:_MESSAGE] if isinstance(value, str) else None


def _without_report(spec: TaskSpec, ending: Ending, report: Report) -> TaskError:
    status = ending.exit_status
    if status == 0 or report.status == 0:
        return Killed(
            f"task `{spec.task}` ended its process before it returned a result",
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
    if report.status is None and report.result is None and status != _LOST_CALLER:  # not even the first process ran
        return _never_began(spec, status, report.printed)
    if status == _LOST_CALLER:
        return Killed(f"task `{spec.task}` ended because its caller went away", task=spec.task, exit_status=status)
    return Killed(
        f"task `{spec.task}` ended with status {status} without a result",
        task=spec.task,
        hint="the last lines of its log may say why",
        exit_status=status,
    )


def killed_at_start(message: str, spec: TaskSpec, usage: Usage) -> TaskError | None:
    """Return the error for a first process that was killed before it began. None if it was not killed.

    `message` is the runtime's. `usage` is that of the cgroup, in which the kernel counts its kills at the limit.
    """
    if (usage.oom_kills or 0) > 0 or "oom-killed" in message.lower():
        return _out_of_memory(spec, Ending(exit_status=_KILLED, oom_killed=True, usage=usage), Report())
    if _ENDED_EARLY.search(message) is None:
        return None
    return Killed(
        f"task `{spec.task}` was killed before it began: {message}",
        task=spec.task,
        hint="another program killed its first process, or the host ran out of memory",
        exit_status=_KILLED,
    )


def _never_began(spec: TaskSpec, status: int, printed: str) -> ImageCannotStart:
    """Return the error for an image whose Python did not reach this package's first process."""
    if "exec format error" in printed.lower():
        return ImageCannotStart(
            f"`{spec.python}` of image {spec.image} is for another kind of processor, or not a program: {printed}",
            task=spec.task,
            hint="build the image for this machine's platform",
        )
    output = f": {printed}" if printed else " and printed nothing"
    return ImageCannotStart(
        f"task `{spec.task}` could not begin: `{spec.python}` of image {spec.image} ended with status {status}{output}",
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
    return "another program stopped it: `flyte-images stop`, `docker stop`, or the host shutting down"
