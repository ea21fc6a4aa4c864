"""Calls that a running task makes of other tasks: received from its container, checked, run here as any other call.

A container decides which task of this program is called and with what; never with which rights: those are the other
task's own. What it sends is data until the other task's signature has checked it, and is bounded by the limits of the
task that sends it.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.cgroup import exists
from flyte_images_runtime.execution.frame_server import Bounds, FrameServer, Received
from flyte_images_runtime.portable import fast_json
from flyte_images_runtime.portable.framing import LARGEST
from flyte_images_runtime.task.code import locate
from flyte_images_runtime.task.exchange import Exchange
from flyte_images_runtime.values import Problem
from flyte_images_runtime.values.budget import Budget
from flyte_images_runtime.worker import paths

from ..environment import TaskEnvironment
from ..errors import FlyteImagesError, Raised, SpecError
from .artifacts import Arrival
from .nested_limits import overridden
from .nested_slots import Lane

if TYPE_CHECKING:
    from ..task import Task
    from .call import Call

DEEPEST = 16
"""Tasks that call each other, one inside the other: each holds a container while it waits."""
ALLOWANCE = 1 << 30
"""Bytes of this process's memory that the calls of one task may take if it has no memory limit; else half the limit."""

_GOODBYE = 10.0  # seconds for calls that are ended to be gone
_NUMBER = re.compile(r"n[0-9]{1,9}")


class NestedCallServer:
    """Answers the calls that come out of one task's container, for as long as it runs."""

    def __init__(self, call: Call, exchange: Exchange) -> None:
        self._call: Call | None = call
        self._exchange = exchange
        self._guard = threading.Condition()
        self._active: set[Call] = set()
        self._numbers: set[str] = set()
        self._lane = Lane(call.slots)
        memory = call.limits.memory
        self._allowance = self._left = ALLOWANCE if memory is None else memory // 2
        bounds = Bounds(frame=min(LARGEST, self._allowance // 8), total=self._allowance // 4)
        self._server = FrameServer(
            exchange.listen(paths.HOST),
            bounds,
            self._take,
            refusal=lambda message: _said("ValueError", f"{message}; {_SMALLER}", builtin=True),
            name=f"calls of {call.task.name}",
        )

    def __enter__(self) -> NestedCallServer:
        return self

    def serve(self, call: Call) -> None:
        """Take what comes from now on for calls that `call` makes, which runs in a container that has had others."""
        with self._guard:
            self._call = call
            self._lane = Lane(call.slots)

    def rest(self) -> set[str]:
        """End the calls that a call still waits for, which has ended itself. Return the numbers of all that it made."""
        with self._guard:
            self._call = None
            active = list(self._active)
        for job in self._lane.clear():
            job.drop()
        for call in active:
            call.cancel()
        with self._guard:
            self._guard.wait_for(lambda: not self._active, _GOODBYE)
            numbers, self._numbers = self._numbers, set()
        return numbers

    def __exit__(self, *_: object) -> None:
        """The task has ended: so do the calls that it still waited for."""
        self._server.close()
        self.rest()

    def _take(self, received: Received) -> None:
        with self._guard:
            if self._call is not None:
                self._lane.add(_NestedCall(self, self._call, received))
                return
        received.close()  # of a task that has ended

    def answer(self, call: Call, received: Received) -> None:
        """Do what the document asks, in the place of `call`, and send what came of it."""
        with received, self._reserved(_cost(received.text)) as room:
            try:
                if not room:
                    raise ValueError(f"a message takes too much memory; {_SMALLER}")
                question = fast_json.loads(bytes(received.text))
                made = self._perform(call, question) if isinstance(question, dict) else _said("ValueError", "no call")
            except (ValueError, RecursionError) as error:
                made = _said("ValueError", str(error), builtin=True)
            except Exception as error:
                made = _said("EngineLost", f"the calling process failed: {type(error).__name__}: {error}")
            received.answer(made)

    @contextlib.contextmanager
    def _reserved(self, count: int) -> Iterator[bool]:
        """Take `count` bytes of the allowance, once they are there. False: that will never be."""
        if count > self._allowance:
            yield False
            return
        with self._guard:
            self._guard.wait_for(lambda: self._left >= count)
            self._left -= count
        try:
            yield True
        finally:
            with self._guard:
                self._left += count
                self._guard.notify_all()

    def _perform(self, call: Call, question: dict[str, Any]) -> dict[str, Any]:
        number = question.get("number")
        if not isinstance(number, str) or not _NUMBER.fullmatch(number):
            return _said("ValueError", "a call has a number")
        if call.depth + 1 >= DEEPEST:
            said = f"tasks call each other more than {DEEPEST} deep: is there a cycle? {_way_to(call)}"
            return _said("RecursionError", said, builtin=True)
        task = find_task(question.get("module"), question.get("qualname"))
        if task is None:
            return _said(
                "EngineLost",
                f"the calling process knows no task `{question.get('module')}.{question.get('qualname')}`",
                hint="import its module before the outer task is run",
            )
        try:
            return self._run(call, overridden(task, question.get("settings")), question.get("arguments"), number)
        except Raised as error:
            builtin = error.as_builtin() is not None
            kind = error.remote.type if builtin else "Raised"
            message = error.remote.message if builtin else str(error)
            return _said(kind, message, builtin=builtin, traceback=error.remote.traceback)
        except (FlyteImagesError, Problem) as error:
            return _said(type(error).__name__, str(error), hint=error.hint)

    def _run(self, call: Call, task: Task[..., Any], arguments: Any, number: str) -> dict[str, Any]:
        group = self._exchange.group
        given = Arrival.of(os.environ)
        inner: Call | None = None
        try:
            options = call.task.options
            budget = Budget.of(options.limits(), options.max_result)
            with self._exchange.output_files(number, budget=budget) as files:
                files.arrivals = str(given.path)
                args, kwargs = task.signature.decode(arguments, files)
            inner = call.inner(task, args, kwargs, group if exists(group) else "")
            with self._guard:
                if self._call is not call:
                    return _said("Cancelled", "the calling task has ended")
                self._active.add(inner)
                self._numbers.add(number)
            done = inner.run()
            with self._exchange.input_files(number) as files:
                return {"result": task.signature.encode_result(done.result, files)}
        finally:
            given.discard()  # its files have gone on into the container of the called task
            if inner is not None:
                with self._guard:
                    self._active.discard(inner)
                    self._guard.notify_all()
                if inner.arrival is not None:
                    inner.arrival.discard()


class _NestedCall:
    """A document that waits for its turn."""

    def __init__(self, server: NestedCallServer, call: Call, received: Received) -> None:
        self.server = server
        self.call = call
        self.received = received

    def __call__(self) -> None:
        self.server.answer(self.call, self.received)

    def drop(self) -> None:
        self.received.close()


_SMALLER = "pass a table, an array or a File"


def _cost(text: bytearray) -> int:
    """About the most bytes that the values of a JSON text take in this process.

    >>> _cost(bytearray(b"[" + b"[]," * 1000 + b"[]]")) > 1000 * 64
    True
    """
    return 6 * len(text) + 240 * text.count(b"{") + 90 * text.count(b"[") + 80 * (text.count(b",") + text.count(b":"))


def _way_to(call: Call, most: int = 4) -> str:
    """The last of the tasks that have called each other: `... -> a.x -> b.y -> a.x`."""
    names = [call.task.name]
    while call.outer is not None:
        call = call.outer
        names.append(call.task.name)
    return ("... -> " if len(names) > most else "") + " -> ".join(reversed(names[:most]))


def find_task(module: Any, qualname: Any) -> Task[..., Any] | None:
    """The task of this process whose function a container knows by that name."""
    for environment in TaskEnvironment.all():
        for task in list(environment.tasks.values()):
            if task.function.__qualname__ == qualname and _module_of(task) == module:
                return task
    return None


def _module_of(task: Task[..., Any]) -> str:
    """What a container calls the module of the task's function."""
    try:
        return locate(task.function).module
    except SpecError:  # it goes by value
        return str(task.function.__module__)


def _said(
    kind: str, message: str, *, hint: str | None = None, builtin: bool = False, traceback: str = ""
) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message, "hint": hint, "builtin": builtin, "traceback": traceback}}
