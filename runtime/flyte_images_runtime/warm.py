"""Warm containers: started once for a task and its limits, then used for one call after the other.

A call is a fork inside the container, so it begins with the module imported and leaves nothing in memory; the limits
are the container's. A container that was killed, timed out or cancelled is not used again.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import shutil
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from . import frames
from .cgroup import read_usage
from .ends import Report
from .engine import Ending, Engine, OnLine, Running, Stream
from .exchange import Exchange
from .execute import Finished, judged, read_report
from .failures import EngineLost, TaskError
from .lines import Lines
from .log import Log
from .metrics import Metrics, Usage
from .spec import TaskSpec
from .worker import places

_START = 120.0  # seconds for a container to start and import the module
_GOODBYE = 2.0  # seconds for it to leave by itself


@dataclass(slots=True)
class _Ended:
    """The end of the container, when it has come."""

    ending: Ending | None = None
    error: BaseException | None = None


class WarmContainer:
    """One container. Not for two threads at once: its pool sees to that."""

    def __init__(self, engine: Engine, spec: TaskSpec, exchange: Exchange, document: dict[str, Any]) -> None:
        self.spec = spec
        self.exchange = exchange
        self.calls = 0
        self.idle_since = time.monotonic()
        self.cleanups: list[Callable[[], object]] = []
        self.attached: dict[str, Any] = {}
        self._numbers = 0
        self._end = _Ended()
        self._early = Log()  # what is printed before the first call: while the module is imported
        self._log: Callable[[Stream, str], None] = self._early.add
        self._before = Usage()
        self._spent = False
        door = _listen(exchange)
        try:
            exchange.write_call({**document, "serve": True, "arguments": {}})
            engine.check(spec)
            exchange.describe(task=spec.task, image=spec.image, engine=engine.name)
            self.running: Running = engine.start(replace(spec, timeout=None), exchange)
            try:
                self._waiter = threading.Thread(target=self._wait, daemon=True)
                self._waiter.start()
                self._link = self._accept(door)
            except BaseException:
                self.running.remove()
                raise
        finally:
            door.close()

    def _wait(self) -> None:
        try:
            self._end.ending = self.running.wait(lambda stream, line: self._log(stream, line))
        except BaseException as error:
            self._end.error = error

    def _accept(self, door: socket.socket) -> socket.socket:
        """The worker's connection, or the reason why there is none: its module cannot be imported, it was killed..."""
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                link, _ = door.accept()
                link.settimeout(None)
                return link
            if not self._waiter.is_alive():
                raise self._why(Report())
        raise EngineLost(f"the container of task `{self.spec.task}` did not get ready", task=self.spec.task)

    def _why(self, report: Report) -> BaseException:
        """What ended the container."""
        self._waiter.join()
        if self._end.error is not None:
            return self._end.error
        assert self._end.ending is not None
        found = read_report(self.exchange)
        found = replace(found, usage=found.usage.or_else(report.usage))
        return judged(self.spec, self._end.ending, found, self.exchange, self._early) or EngineLost(
            f"the container of task `{self.spec.task}` ended by itself", task=self.spec.task
        )

    def next_number(self) -> str:
        """The name of the directories of the next call's files."""
        self._numbers += 1
        return f"c{self._numbers}"

    def call(self, arguments: Any, number: str, *, on_line: OnLine, timeout: float | None, log: Log) -> Finished:
        """Perform one call. A Finished whose error ended the container leaves `alive` False."""
        began = time.monotonic()
        asked = time.time()
        self._log = on_line
        for line in self._early:
            on_line(line.stream, line.text)
        self._early = Log()
        ends = self._send(arguments, number)
        try:
            outcome, end, timed_out = self._listen_until_the_end(ends, on_line, timeout)
        finally:
            for each in ends:
                os.close(each)
        self.calls += 1
        if end is None:
            lost = self._lost(timed_out)
            return Finished(result=None, error=lost, metrics=Metrics(total=time.monotonic() - began), log=log)
        report, used = self._report(outcome, end)
        said = end.get("status")
        status = said if isinstance(said, int) else 0
        self._spent = self._spent or bool(status & 0x7F)
        ending = Ending(exit_status=_exit_status(status), oom_killed=(report.usage.oom_kills or 0) > 0)
        error = judged(self.spec, ending, report, self.exchange, log)
        return Finished(
            result=report.result["result"] if error is None and report.result else None,
            error=error,
            metrics=_metrics(used, outcome, asked=asked, total=time.monotonic() - began),
            log=log,
        )

    def _send(self, arguments: Any, number: str) -> tuple[int, int]:
        out_reader, out_writer = os.pipe()
        err_reader, err_writer = os.pipe()
        try:
            rights = array.array("i", [out_writer, err_writer])
            with contextlib.suppress(OSError):  # it is gone: the answer will say so
                self._link.sendmsg([b"c"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                frames.send(self._link, {"arguments": arguments, "number": number})
        finally:
            os.close(out_writer)
            os.close(err_writer)
        return out_reader, err_reader

    def _listen_until_the_end(
        self, ends: tuple[int, int], on_line: OnLine, timeout: float | None
    ) -> tuple[Any, dict[str, Any] | None, bool]:
        """Pass on what is printed until the two answers are there, the time is over, or the container has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        names: tuple[Stream, Stream] = ("stdout", "stderr")
        lines = {end: Lines(name, on_line) for end, name in zip(ends, names, strict=True)}
        poll = select.poll()
        for each in (*ends, self._link.fileno()):
            poll.register(each, select.POLLIN)
        open_ends = set(ends)
        answers: list[Any] = []
        timed_out = False
        while len(answers) < 2:
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            ready = poll.poll(left)
            if not ready:
                timed_out = True
                self.running.cancel()
                deadline = None
            for each, _ in ready:
                if each in open_ends:
                    if not _pass_on(each, lines[each]):
                        poll.unregister(each)
                        open_ends.discard(each)
                elif not self._receive(answers):
                    return None, None, timed_out
        for each in open_ends:  # the fork has ended: what it printed is in the pipes
            while _pass_on(each, lines[each]):
                pass
        for line in lines.values():
            line.finish()
        end = answers[1]
        return answers[0], end if isinstance(end, dict) else None, timed_out

    def _receive(self, answers: list[Any]) -> bool:
        try:
            answers.append(frames.receive(self._link) if answers else _outcome(self._link))
        except (OSError, ValueError, RecursionError):
            return False
        return answers[-1] is not None

    def _lost(self, timed_out: bool) -> TaskError:
        self._waiter.join()
        if self._end.ending is not None and timed_out:
            self._end.ending = replace(self._end.ending, timed_out=True, cancelled=False)
        why = self._why(Report())
        if not isinstance(why, TaskError):
            raise why
        return why

    def _report(self, outcome: Any, end: dict[str, Any]) -> tuple[Report, Usage]:
        """What the worker says of the call, and what the call alone has used."""
        said = end.get("cgroup")
        files: dict[str, Any] = said if isinstance(said, dict) else {}
        usage = read_usage(lambda name: files[name] if isinstance(files.get(name), str) else None)
        before, self._before = self._before, usage
        cpu, peak, status = end.get("cpu"), end.get("peak"), end.get("status")
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
        """What the call that runs has used until now; the memory is the container's."""
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
        """Can it be used again? Not after its end, and not after a call of it was killed."""
        return self._waiter.is_alive() and not self._spent

    def forget(self, number: str) -> None:
        """Remove a call's files."""
        for base in (self.exchange.inputs, self.exchange.outputs, self.exchange.memory):
            directory = base / number
            if directory.is_symlink():
                directory.unlink(missing_ok=True)
            elif directory.exists():
                shutil.rmtree(directory, ignore_errors=True)

    def close(self) -> None:
        """End the container and leave nothing of it."""
        self._link.close()  # the worker's sign to leave
        self._waiter.join(_GOODBYE)
        if self._waiter.is_alive():
            self.running.cancel()
            self._waiter.join()
        self.running.remove()
        for clean in self.cleanups:
            clean()
        self.cleanups.clear()
        self.exchange.remove()


def _outcome(link: socket.socket) -> Any:
    """The fork's own words; {} where it had none, None where the container is gone."""
    head = b""
    while len(head) < 4:
        arrived = link.recv(4 - len(head))
        if not arrived:
            return None
        head += arrived
    length = int.from_bytes(head, "big")
    if length > frames.LARGEST:
        raise ValueError("the outcome is too long")
    text = bytearray()
    while len(text) < length:
        part = link.recv(min(length - len(text), 1 << 20))
        if not part:
            return None
        text += part
    return json.loads(text) if text else {}


def _pass_on(end: int, lines: Lines) -> bool:
    arrived = os.read(end, 1 << 16)
    if arrived:
        lines.feed(arrived)
    return bool(arrived)


def _exit_status(status: int) -> int:
    return 128 + (status & 0x7F) if status & 0x7F else status >> 8


def _metrics(used: Usage, outcome: Any, *, asked: float, total: float) -> Metrics:
    began = outcome.get("began") if isinstance(outcome, dict) else None
    ended = outcome.get("ended") if isinstance(outcome, dict) else None
    start = wall = None
    if isinstance(began, float) and isinstance(ended, float):
        start, wall = max(0.0, began - asked), max(0.0, ended - began)
    return Metrics(
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


def _listen(exchange: Exchange) -> socket.socket:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(exchange.inputs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        door.bind(f"/proc/self/fd/{directory}/{places.WORK}")
    finally:
        os.close(directory)
    (exchange.inputs / places.WORK).chmod(0o666)
    door.listen(1)
    door.settimeout(0.2)
    return door
