"""Warm containers: started once for a task and its limits, then used for many calls, one after the other.

A call is a fork inside the container: it begins with the module imported and leaves nothing in memory. The limits are
those of the container. A container that was killed, timed out or canceled is not used again.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..cgroup import read_usage
from ..engines.outcome import Report, judge
from ..errors import EngineLost, TaskError
from ..portable import framing
from ..resources.metrics import Metrics, Usage
from ..task.engine import Ending, Engine, OnLine, Running, Stream
from ..task.exchange import Exchange, Snapshot, remove_entry
from ..task.log import Log
from ..task.redaction import NO_SECRETS, Redactor
from ..task.spec import TaskSpec
from ..values import Problem
from ..values.budget import Budget
from ..worker import paths
from .call_streams import CallStreams, split_answers
from .disk_watch import Watch
from .execute import Finished, judged, measured, read_report, without_secrets

_START = 120.0  # seconds for a container to start and import the module
_CLEANING = 10.0  # seconds for the worker to remove what a call left
_GOODBYE = 2.0  # seconds for the worker to end by itself


@dataclass(slots=True)
class _Ended:
    """The end of the container, once it has come."""

    ending: Ending | None = None
    error: BaseException | None = None


class WarmContainer:
    """One container. Not safe for two threads at once: the pool gives it to one call at a time."""

    def __init__(
        self,
        engine: Engine,
        spec: TaskSpec,
        exchange: Exchange,
        document: dict[str, Any],
        *,
        redactor: Redactor = NO_SECRETS,
    ) -> None:
        self.spec = spec
        self._redactor = redactor
        self.exchange = exchange
        self.calls = 0
        self.idle_since = time.monotonic()
        self.cleanups: list[Callable[[], object]] = []
        self.attached: dict[str, Any] = {}
        self._numbers = 0
        self._cleaning = False
        self._forks = bool(document.get("fork", True))
        self._writable: list[Snapshot] = []
        self._end = _Ended()
        self._early = Log()  # output before the first call, while the module is imported
        self._log: Callable[[Stream, str], None] = redactor.lines(self._early.add)
        self._before = Usage()
        self._spent = False
        self._arrived = bytearray()
        door = exchange.listen(paths.WORK)
        door.settimeout(0.2)
        try:
            exchange.write_call({**document, "serve": True, "arguments": {}})
            engine.check(spec)
            exchange.describe(task=spec.task, image=spec.image, engine=engine.name)
            self.running: Running = engine.start(replace(spec, timeout=None), exchange)
            try:
                self._read_only = [str(exchange.inputs)]  # for the container
                if exchange.large is not None:
                    self._read_only.append(f"{exchange.large.path}/{paths.LARGE_IN}")
                self._places = [*self._read_only, str(exchange.outputs), str(exchange.memory)]
                self._watch = Watch(exchange, self.running.cancel)
                self._waiter = threading.Thread(target=self._wait, daemon=True)
                self._waiter.start()
                self._link = self._accept(door)
                self._streams = CallStreams(self._link)
                self._writable = [Snapshot.of(base) for base in (exchange.outputs, exchange.memory)]
            except BaseException:
                self.running.remove()
                raise
        finally:
            door.close()

    def _wait(self) -> None:
        try:
            with self._watch:
                self._end.ending = self.running.wait(lambda stream, line: self._log(stream, line))
        except BaseException as error:
            self._end.error = error

    def _accept(self, door: socket.socket) -> socket.socket:
        """Return the worker's connection. Raise the reason without one, such as a module that cannot be imported."""
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                link, _ = door.accept()
                link.settimeout(None)
                return link
            if not self._waiter.is_alive():
                raise self._why(Report())
        raise EngineLost(f"the container of task `{self.spec.task}` was not ready in time", task=self.spec.task)

    def _why(self, report: Report) -> BaseException:
        """Return the reason for the container's end."""
        self._waiter.join()
        if self._end.error is not None:
            return self._end.error
        if self._watch.exceeded:
            return self._watch.error(self.spec.task)
        assert self._end.ending is not None
        found = without_secrets(read_report(self.exchange, Budget.of(self.spec.limits)), self._redactor)
        found = replace(found, usage=found.usage.or_else(report.usage))
        return judged(self.spec, self._end.ending, found, self.exchange, self._early) or EngineLost(
            f"the container of task `{self.spec.task}` ended by itself", task=self.spec.task
        )

    def next_number(self) -> str:
        """Return the name for the directories of the next call's files."""
        self._numbers += 1
        return f"c{self._numbers}"

    def call(
        self,
        arguments: Any,
        number: str,
        *,
        on_line: OnLine,
        timeout: float | None,
        log: Log,
        since: float,
        budget: Budget,
    ) -> Finished:
        """Perform one call, which waits since `since`.

        If its error ended the container, `alive` is False afterwards.
        """
        queue = time.monotonic() - since
        asked = time.time()
        on_line = self._redactor.lines(on_line)
        self._log = on_line
        for line in self._early:
            on_line(line.stream, line.text)
        self._early = Log()
        with contextlib.suppress(OSError):  # the container is gone, which the next read shows
            framing.send(self._link, {"arguments": arguments, "number": number})
        try:
            outcome, end, timed_out = self._listen_until_the_end(on_line, timeout, budget)
        except Problem as problem:
            return self._refused(problem, log, since)
        self.calls += 1
        if end is None:
            lost = self._lost(timed_out)
            return Finished(result=None, error=lost, metrics=Metrics(total=time.monotonic() - since), log=log)
        report, used = self._report(outcome, end)
        report = without_secrets(report, self._redactor)
        reported = end.get("status")
        status = reported if isinstance(reported, int) else 0
        self._spent = self._spent or bool(status & 0x7F)
        self._cleaning = self._forks
        ending = Ending(exit_status=_exit_status(status), oom_killed=(report.usage.oom_kills or 0) > 0)
        error = judged(self.spec, ending, report, self.exchange, log)
        return Finished(
            result=report.result["result"] if error is None and report.result else None,
            error=error,
            metrics=_metrics(used, outcome, asked=asked, queue=queue, total=time.monotonic() - since),
            log=log,
        )

    def _refused(self, problem: Problem, log: Log, since: float) -> Finished:
        """End the container, whose last message cannot be read: the start of its next message is unknown."""
        self._spent = True
        self.running.cancel()
        error = judge(self.spec, Ending(exit_status=0), Report(unreadable=problem))
        return Finished(result=None, error=error, metrics=Metrics(total=time.monotonic() - since), log=log)

    def _listen_until_the_end(
        self, on_line: OnLine, timeout: float | None, budget: Budget
    ) -> tuple[Any, dict[str, Any] | None, bool]:
        """Pass on output until both answers have arrived, the time is over, or the container has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._streams.begin(on_line)
        timed_out = False
        answers: list[Any] | None = None
        with contextlib.suppress(OSError):
            while answers is None:
                if not self._streams.pass_on(deadline):
                    timed_out = True
                    self.running.cancel()
                    deadline = None
                elif part := self._link.recv(1 << 18):
                    self._arrived += part
                    answers = split_answers(self._arrived, budget)
                else:
                    break  # the container is gone
        self._streams.finish()
        outcome, end = answers or (None, None)
        return outcome, end if isinstance(end, dict) else None, timed_out

    def _lost(self, timed_out: bool) -> TaskError:
        self._waiter.join()
        if self._end.ending is not None and timed_out:
            self._end.ending = replace(self._end.ending, timed_out=True, cancelled=False)
        why = self._why(Report())
        if not isinstance(why, TaskError):
            raise why
        return why

    def _report(self, outcome: Any, end: dict[str, Any]) -> tuple[Report, Usage]:
        """Return the worker's report of the call, and the usage of this call alone."""
        reported = end.get("cgroup")
        files: dict[str, Any] = reported if isinstance(reported, dict) else {}
        usage = read_usage(lambda name: files[name] if isinstance(files.get(name), str) else None)
        before, self._before = self._before, usage
        cpu, peak, status = measured(end.get("cpu")), measured(end.get("peak")), end.get("status")
        report = Report(
            result=outcome if isinstance(outcome, dict) and outcome else None,
            usage=replace(usage, oom_kills=(usage.oom_kills or 0) - (before.oom_kills or 0)),
            status=status & 0x7F or status >> 8 if isinstance(status, int) else None,
        )
        used = Usage(
            cpu=cpu if isinstance(cpu, float) else None,
            peak_memory=peak if isinstance(peak, int) else None,
            throttled=None if usage.throttled is None else usage.throttled - (before.throttled or 0.0),
            throttled_periods=(usage.throttled_periods or 0) - (before.throttled_periods or 0),
            read_bytes=_more(usage.read_bytes, before.read_bytes),
            written_bytes=_more(usage.written_bytes, before.written_bytes),
        )
        return report, used

    def usage(self) -> Usage:
        """Return the usage of the running call so far. The memory is that of the container."""
        now, before = self.running.usage(), self._before
        return replace(
            now,
            cpu=None if now.cpu is None else max(0.0, now.cpu - (before.cpu or 0.0)),
            throttled=None if now.throttled is None else max(0.0, now.throttled - (before.throttled or 0.0)),
            read_bytes=_more(now.read_bytes, before.read_bytes),
            written_bytes=_more(now.written_bytes, before.written_bytes),
        )

    @property
    def alive(self) -> bool:
        """Whether the container can be used again.

        Not after its end, nor after a call that was killed or left something.
        """
        return self._waiter.is_alive() and not self._spent

    def is_clean(self) -> bool:
        """Return whether the worker removed everything of the last call. Waits for the worker, which is mostly done."""
        if self._cleaning and not self._spent:
            self._cleaning = False
            self._spent = self._verdict() != framing.CLEAN
        return self.alive

    def _verdict(self) -> bytes:
        """Return the worker's verdict on the last call, which comes after its cleaning."""
        if self._arrived:
            verdict = bytes(self._arrived[:1])
            del self._arrived[:1]
            return verdict
        self._link.settimeout(_CLEANING)
        try:
            return self._link.recv(1)
        except OSError:
            return b""
        finally:
            self._link.settimeout(None)

    def forget(self, numbers: Iterable[str]) -> None:
        """Remove the files of a call and of its nested calls; after a fork, everything that it left in the exchange."""
        for number in numbers:
            for base in self._read_only if self._forks else self._places:
                remove_entry(f"{base}/{number}")
        if self._forks and not all(each.restore() for each in self._writable):
            self._spent = True

    def close(self) -> None:
        """End the container and remove everything of it."""
        self._link.close()  # tells the worker to end
        self._streams.close()
        self._waiter.join(_GOODBYE)
        if self._waiter.is_alive():
            self.running.cancel()
            self._waiter.join()
        with contextlib.ExitStack() as stack:  # each step is done, even if others fail
            stack.callback(self.exchange.remove)
            for clean in self.cleanups:
                stack.callback(clean)
            self.cleanups.clear()
            with contextlib.suppress(EngineLost):  # the engine is gone; a sweep removes the container when it is back
                self.running.remove()


def _exit_status(status: int) -> int:
    return 128 + (status & 0x7F) if status & 0x7F else status >> 8


def _metrics(used: Usage, outcome: Any, *, asked: float, queue: float, total: float) -> Metrics:
    began = outcome.get("began") if isinstance(outcome, dict) else None
    ended = outcome.get("ended") if isinstance(outcome, dict) else None
    start = wall = None
    if isinstance(began, float) and isinstance(ended, float):
        start, wall = max(0.0, began - asked), max(0.0, ended - began)
    return Metrics(
        queue=queue,
        start=start,
        wall=wall,
        total=total,
        cpu=used.cpu,
        throttled=used.throttled,
        throttled_periods=used.throttled_periods,
        peak_memory=used.peak_memory,
        read_bytes=used.read_bytes,
        written_bytes=used.written_bytes,
    )


def _more(now: int | None, before: int | None) -> int | None:
    return None if now is None else now - (before or 0)
