"""Nested calls, which a running task makes of other tasks: received from its container, checked, and run here.

A container decides which task of this program is called, and with which arguments. It does not decide the rights of the
call: those are the called task's. The documents of a container are data until the called task's signature has checked
them, and the limits of the calling task bound them.
"""

from __future__ import annotations

import contextlib
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
from .artifacts import ArtifactDir
from .nested_limits import override_task
from .nested_slots import Lane

if TYPE_CHECKING:
    from ..task import Task
    from .model import ParentCall

DEEPEST = 16
"""Depth of tasks that call each other: each holds a container while it waits for the next."""
ALLOWANCE = 1 << 30
"""Bytes of this process's memory for the nested calls of a task without a memory limit; else half of that limit."""

_CANCEL_WAIT = 10.0  # seconds for canceled calls to end
_NUMBER = re.compile(r"n[0-9]{1,9}")


class NestedCallServer:
    """Answers the nested calls from one task's container, as long as the container runs."""

    def __init__(self, call: ParentCall, exchange: Exchange) -> None:
        self._call: ParentCall | None = call
        self._exchange = exchange
        self._guard = threading.Condition()
        self._active: set[ParentCall] = set()
        self._numbers: set[str] = set()
        self._lane = Lane(call.slots)
        memory = call.limits.memory
        self._allowance = self._left = ALLOWANCE if memory is None else memory // 2
        bounds = Bounds(frame=min(LARGEST, self._allowance // 8), total=self._allowance // 4)
        self._server = FrameServer(
            exchange.listen(paths.HOST),
            bounds,
            self._take,
            refusal=lambda message: _error("ValueError", f"{message}; {_SMALLER}", builtin=True),
            name=f"calls of {call.task.name}",
        )

    def __enter__(self) -> NestedCallServer:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the server, and cancel the nested calls that the ended task still waits for."""
        self._server.close()
        self.end_calls()

    def serve(self, call: ParentCall) -> None:
        """Attribute further nested calls to `call`, which now runs in this reused container."""
        with self._guard:
            self._call = call
            self._lane = Lane(call.slots)

    def end_calls(self) -> set[str]:
        """Cancel the nested calls that the ended task still waits for. Return the numbers of all that it made."""
        with self._guard:
            self._call = None
            active = list(self._active)
        for job in self._lane.clear():
            job.drop()
        for call in active:
            call.cancel()
        with self._guard:
            self._guard.wait_for(lambda: not self._active, _CANCEL_WAIT)
            numbers, self._numbers = self._numbers, set()
        return numbers

    def _take(self, received: Received) -> None:
        with self._guard:
            if self._call is not None:
                self._lane.add(_NestedCall(self, self._call, received))
                return
        received.close()  # the task has ended

    def answer(self, call: ParentCall, received: Received) -> None:
        """Run the call that the document describes, as a nested call of `call`, and send the outcome."""
        with received, self._reserve(_json_memory(received.text)) as reserved:
            try:
                if not reserved:
                    raise ValueError(f"a message takes too much memory; {_SMALLER}")
                request = fast_json.loads(bytes(received.text))
                outcome = self._perform(call, request) if isinstance(request, dict) else _error("ValueError", "no call")
            except (ValueError, RecursionError) as error:
                outcome = _error("ValueError", str(error), builtin=True)
            except Exception as error:
                outcome = _error("EngineLost", f"the calling process failed: {type(error).__name__}: {error}")
            received.answer(outcome)

    @contextlib.contextmanager
    def _reserve(self, count: int) -> Iterator[bool]:
        """Wait for `count` free bytes of the allowance and reserve them. Yield False if the allowance is smaller."""
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

    def _perform(self, call: ParentCall, request: dict[str, Any]) -> dict[str, Any]:
        number = request.get("number")
        if not isinstance(number, str) or not _NUMBER.fullmatch(number):
            return _error("ValueError", "a call has a number")
        if call.depth + 1 >= DEEPEST:
            message = f"tasks call each other more than {DEEPEST} deep: is there a cycle? {_chain(call)}"
            return _error("RecursionError", message, builtin=True)
        task = _task_of_function(request.get("module"), request.get("qualname"))
        if task is None:
            return _error(
                "EngineLost",
                f"the calling process knows no task `{request.get('module')}.{request.get('qualname')}`",
                hint="import its module before the outer task is run",
            )
        try:
            return self._run(call, override_task(task, request.get("settings")), request.get("arguments"), number)
        except Raised as error:
            builtin = error.as_builtin() is not None
            kind = error.remote.type if builtin else "Raised"
            message = error.remote.message if builtin else str(error)
            return _error(kind, message, builtin=builtin, traceback=error.remote.traceback)
        except (FlyteImagesError, Problem) as error:
            return _error(type(error).__name__, str(error), hint=error.hint)

    def _run(self, call: ParentCall, task: Task[..., Any], arguments: Any, number: str) -> dict[str, Any]:
        group = self._exchange.group
        inputs = ArtifactDir.of(call.options.environ)
        nested: ParentCall | None = None
        try:
            options = call.task.options
            budget = Budget.of(options.limits(), options.max_result)
            with self._exchange.output_files(number, budget=budget) as files:
                files.arrivals = str(inputs.path)
                args, kwargs = task.signature.decode(arguments, files)
            nested = call.nested(task, args, kwargs, group if exists(group) else "")
            with self._guard:
                if self._call is not call:
                    return _error("Cancelled", "the calling task has ended")
                self._active.add(nested)
                self._numbers.add(number)
            run = nested.run()
            with self._exchange.input_files(number) as files:
                return {"result": task.signature.encode_result(run.result, files)}
        finally:
            inputs.discard()  # the container of the called task has had its files
            if nested is not None:
                with self._guard:
                    self._active.discard(nested)
                    self._guard.notify_all()
                nested.discard_artifacts()


class _NestedCall:
    """A document that waits for a slot."""

    def __init__(self, server: NestedCallServer, call: ParentCall, received: Received) -> None:
        self.server = server
        self.call = call
        self.received = received

    def __call__(self) -> None:
        self.server.answer(self.call, self.received)

    def drop(self) -> None:
        self.received.close()


_SMALLER = "pass a table, an array or a File"


def _json_memory(text: bytearray) -> int:
    """Return about the most bytes of memory that the values of a JSON text take in this process.

    A budget's estimate (values/budget.py) is up to 100 bytes for each byte of a short text. Reserved from an allowance
    that several calls share, that would keep calls with some 100 kB of arguments from working side by side.

    >>> _json_memory(bytearray(b"[" + b"[]," * 1000 + b"[]]")) > 1000 * 64
    True
    """
    return 6 * len(text) + 240 * text.count(b"{") + 90 * text.count(b"[") + 80 * (text.count(b",") + text.count(b":"))


def _chain(call: ParentCall, most: int = 4) -> str:
    """Return the names of the last calls: `... -> a.x -> b.y -> a.x`."""
    names = [call.task.name]
    parent = call.parent
    while parent is not None:
        names.append(parent.task.name)
        parent = parent.parent
    return ("... -> " if len(names) > most else "") + " -> ".join(reversed(names[:most]))


def _task_of_function(module: Any, qualname: Any) -> Task[..., Any] | None:
    """Return the task of this process whose function has that name in a container; None if there is none."""
    for environment in TaskEnvironment.all():
        for task in list(environment.tasks.values()):
            if task.function.__qualname__ == qualname and _module_in_container(task) == module:
                return task
    return None


def _module_in_container(task: Task[..., Any]) -> str:
    """Return the name that the module of the task's function has in a container."""
    try:
        return locate(task.function).module
    except SpecError:  # the function goes by value
        return str(task.function.__module__)


def _error(
    kind: str, message: str, *, hint: str | None = None, builtin: bool = False, traceback: str = ""
) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message, "hint": hint, "builtin": builtin, "traceback": traceback}}
