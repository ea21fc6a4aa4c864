"""Run one task on an engine: from its specification and arguments to its result, its log and its metrics."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ..cgroup.group import PARENT
from ..cgroup.usage import read_usage, traffic
from ..engines.outcome import Report, judge
from ..errors import ImageCannotStart, Killed, OutOfMemory, Process, TaskError
from ..resources.metrics import Metrics, Usage
from ..system.diagnostics import timed
from ..task.engine import Ending, Engine, OnLine, Running, Stream
from ..task.exchange import Exchange, refill_disks
from ..task.log import Log
from ..task.redaction import NO_SECRETS, Redactor
from ..task.spec import TaskSpec
from ..values import Problem
from ..values.budget import Budget
from ..worker import paths as places
from .disk_watch import Watch
from .oom import kill_in, was_killed


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished run: `error` says how it failed, else `result` is the JSON form of the result."""

    result: Any
    error: TaskError | None
    metrics: Metrics
    log: Log = field(default_factory=Log)


def call_document(spec: TaskSpec, arguments: dict[str, Any], *, secrets: dict[str, str]) -> dict[str, Any]:
    """Return the document that the worker reads first.

    `arguments` are by name; `secrets` has the names of files in the exchange by variable.
    """
    paths = [f"{places.CODE}/{at}" for at in range(len(spec.code.roots))]
    return {
        "task": spec.task,
        "module": spec.code.module,
        "file": spec.code.file and _inside(spec.code.file, spec.code.roots),
        "qualname": spec.code.qualname,
        "paths": paths,
        "argv": list(spec.code.argv),
        "python": list(sys.version_info[:2]) if spec.code.value is not None else None,
        "homes": dict(zip(paths, spec.code.roots, strict=True)),
        "arguments": arguments,
        "memory": spec.limits.memory,
        "secrets": secrets,
        "way_out": bool(spec.reaches),
    }


def _inside(file: str, roots: tuple[str, ...]) -> str:
    for at, root in enumerate(roots):
        if file.startswith(root.rstrip("/") + "/"):
            return f"{places.CODE}/{at}/{file[len(root.rstrip('/')) + 1 :]}"
    raise ValueError(f"{file} is in none of {roots}")


def execute(
    engine: Engine,
    spec: TaskSpec,
    exchange: Exchange,
    *,
    on_line: OnLine | None = None,
    on_running: Callable[[Running], None] | None = None,
    queue: float = 0.0,
    redactor: Redactor = NO_SECRETS,
    budget: Budget | None = None,
) -> Finished:
    """Start the task, wait for its end and remove the container. The exchange stays, so that its result can be read.

    `redactor` removes the values of secrets from the task's output and errors.

    An error of the task is in the returned value; an error of the engine is raised. In either case nothing of the task
    is
    left on the engine, or its removal has begun.
    """
    log = Log()

    def keep(stream: Stream, line: str) -> None:
        log.add(stream, line)
        if on_line is not None:
            on_line(stream, line)

    asked, clock = time.time(), time.monotonic()
    engine.check(spec)
    exchange.describe(task=spec.task, image=spec.image, engine=engine.name)
    with timed("starting %s on the engine %s", spec.task, engine.name):
        running = engine.start(spec, exchange)
    refill_disks()
    try:
        if on_running is not None:
            on_running(running)
        with Watch(exchange, running.cancel) as watch, timed("running %s", spec.task):
            ending = running.wait(redactor.lines(keep))
    except BaseException:
        running.remove()
        raise
    # The task has ended, so nothing waits for the removal. Not a daemon thread: the interpreter waits for its end.
    threading.Thread(target=running.remove, name=f"removal of {exchange.name}").start()
    report = without_secrets(read_report(exchange, budget or Budget.of(spec.limits)), redactor)
    error = watch.error(spec.task) if watch.exceeded else judged(spec, ending, report, exchange, log)
    if spec.network == "host":  # other processes use the host's network too
        report = replace(report, usage=replace(report.usage, received_bytes=None, sent_bytes=None))
    metrics = _metrics(exchange, ending, report, asked=asked, total=time.monotonic() - clock, queue=queue)
    return Finished(
        result=report.result["result"] if error is None and report.result else None,
        error=error,
        metrics=metrics,
        log=log,
    )


def last_lines(log: Log, count: int = 3) -> str:
    """Return the last lines that are not empty, in one line. A runtime's own lines are JSON."""
    found = [line.text.strip() for line in log if line.text.strip()][-count:]
    for at, text in enumerate(found):
        if text.startswith("{"):
            with contextlib.suppress(ValueError, KeyError):
                found[at] = str(json.loads(text)["msg"])
    return " / ".join(found)[-500:]


def judged(spec: TaskSpec, ending: Ending, report: Report, exchange: Exchange, log: Log) -> TaskError | None:
    """Return the error of a run, with the kernel's report of a kill, or the last output if nothing else is known."""
    error = judge(spec, ending, report)
    group = f"/{PARENT}/{exchange.group}"
    if isinstance(error, Killed) and exchange.within and was_killed(group):  # at the limit of the calling task
        ending = replace(ending, oom_killed=True)
        error = judge(spec, ending, report)
    if isinstance(error, ImageCannotStart):
        return judge(spec, ending, replace(report, printed=last_lines(log)))
    if isinstance(error, OutOfMemory) and (kill := kill_in(group)) is not None:
        return judge(spec, ending, replace(report, largest=kill.processes, files=kill.files))
    return error


def read_report(exchange: Exchange, budget: Budget) -> Report:
    """Return what the worker left, without trusting any of it. Reading the result is paid from `budget`."""
    end: Any = None
    with contextlib.suppress(Problem):
        end = exchange.read(places.END, Budget.small())
    end = end if isinstance(end, dict) else {}
    unreadable: Problem | None = None
    result = None
    try:
        result = exchange.read(places.RESULT, budget)
    except Problem as problem:
        unreadable = problem
    files = end.get("cgroup") if isinstance(end.get("cgroup"), dict) else {}
    usage = read_usage(lambda name: files[name] if isinstance(files.get(name), str) else None)
    peak, cpu = measured(end.get("peak")), measured(end.get("cpu"))
    moved = traffic(end["network"]) if isinstance(end.get("network"), str) else None
    status = end.get("status")
    return Report(
        result=result if isinstance(result, dict) else None,
        usage=usage.or_else(
            Usage(
                cpu=cpu if isinstance(cpu, float) else None,
                peak_memory=peak if isinstance(peak, int) else None,
                received_bytes=moved and moved[0],
                sent_bytes=moved and moved[1],
            )
        ),
        largest=_processes(end.get("largest")),
        status=status & 0x7F or status >> 8 if isinstance(status, int) else None,
        unreadable=unreadable,
    )


def without_secrets(report: Report, redactor: Redactor) -> Report:
    """Return the report without the values of secrets in the task's error."""
    if not redactor or report.result is None or "error" not in report.result:
        return report
    return replace(report, result={**report.result, "error": redactor.document(report.result["error"])})


def measured(value: Any) -> Any:
    """Return `value` if it is a finite number that is not negative, as usage must be. Else None."""
    return value if type(value) in (int, float) and 0 <= value < 1 << 62 else None


def _processes(found: Any) -> tuple[Process, ...]:
    rows = [row for row in found if isinstance(row, list) and len(row) == 3] if isinstance(found, list) else []
    good = [row for row in rows if type(row[0]) is int and type(measured(row[1])) is int and isinstance(row[2], str)]
    return tuple(Process(pid=row[0], memory=row[1], command=row[2][:200]) for row in good[:20])


def _metrics(
    exchange: Exchange, ending: Ending, report: Report, *, asked: float, total: float, queue: float
) -> Metrics:
    usage = ending.usage.or_else(report.usage)
    began = exchange.time_of(places.BEGAN)
    ended = exchange.time_of(places.RESULT) or asked + total
    return Metrics(
        queue=queue,
        start=None if began is None else max(0.0, began - asked),
        wall=None if began is None else max(0.0, ended - began),
        total=total + queue,
        cpu=usage.cpu,
        throttled=usage.throttled,
        throttled_periods=usage.throttled_periods,
        peak_memory=usage.peak_memory,
        peak_pids=usage.peak_pids,
        read_bytes=usage.read_bytes,
        written_bytes=usage.written_bytes,
        received_bytes=usage.received_bytes,
        sent_bytes=usage.sent_bytes,
    )
