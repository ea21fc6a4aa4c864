"""Calls that a running task makes of other tasks: received from its container, checked, run here as any other call.

A container decides which task of this program is called and with what; never with which rights: those are the other
task's own. What it sends is data until the other task's signature has checked it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from typing import TYPE_CHECKING, Any

from flyte_images_runtime import frames
from flyte_images_runtime.code import locate
from flyte_images_runtime.errors import RuntimeSpecError
from flyte_images_runtime.exchange import Exchange
from flyte_images_runtime.failures import Raised, TaskError
from flyte_images_runtime.resources import Resources
from flyte_images_runtime.values import Problem
from flyte_images_runtime.worker import places

from .environment import TaskEnvironment
from .errors import FlyteImagesError

if TYPE_CHECKING:
    from .running import Call
    from .task import Task

DEEPEST = 16
"""Tasks that call each other, one inside the other: each holds a container while it waits."""

_NUMBER = re.compile(r"n[0-9]{1,9}")
_MAY_CHANGE = ("limits", "resources", "timeout", "retries", "env_vars", "cache")


class Reception:
    """Answers the calls that come out of one task's container, for as long as it runs."""

    def __init__(self, call: Call, exchange: Exchange) -> None:
        self._call = call
        self._exchange = exchange
        self._guard = threading.Lock()
        self._active: set[Call] = set()
        self._closed = False
        self._door = exchange.listen(places.HOST)
        threading.Thread(target=self._receive, daemon=True, name=f"calls of {call.task.name}").start()

    def __enter__(self) -> Reception:
        return self

    def serve(self, call: Call) -> None:
        """From now on what comes out is a call's of a warm container that has had others."""
        self._call = call

    def __exit__(self, *_: object) -> None:
        """The task has ended: so do the calls that it still waited for."""
        with self._guard:
            self._closed = True
            active = list(self._active)
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for call in active:
            call.cancel()

    def _receive(self) -> None:
        while True:
            try:
                link, _ = self._door.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(link,), daemon=True).start()

    def _answer(self, link: socket.socket) -> None:
        with link, contextlib.suppress(OSError):
            try:
                question = frames.receive(link)
                answer = self._perform(question) if isinstance(question, dict) else _said("ValueError", "no call")
            except (ValueError, RecursionError) as error:
                answer = _said("ValueError", str(error), builtin=True)
            frames.send(link, answer)

    def _perform(self, question: dict[str, Any]) -> dict[str, Any]:
        number = question.get("number")
        if not isinstance(number, str) or not _NUMBER.fullmatch(number):
            return _said("ValueError", "a call has a number")
        if self._call.depth + 1 >= DEEPEST:
            said = f"tasks call each other more than {DEEPEST} deep: is there a cycle? {_way_to(self._call)}"
            return _said("RecursionError", said, builtin=True)
        task = find_task(question.get("module"), question.get("qualname"))
        if task is None:
            return _said(
                "EngineLost",
                f"the calling process knows no task `{question.get('module')}.{question.get('qualname')}`",
                hint="import its module before the outer task is run",
            )
        try:
            settings = _settings(question.get("settings"))
            if settings:
                task = task.override(**settings)
            return self._run(task, question.get("arguments"), number)
        except Raised as error:
            builtin = error.as_builtin() is not None
            kind = error.remote.type if builtin else "Raised"
            message = error.remote.message if builtin else str(error)
            return _said(kind, message, builtin=builtin, traceback=error.remote.traceback)
        except (TaskError, FlyteImagesError, RuntimeSpecError, Problem) as error:
            return _said(type(error).__name__, str(error), hint=getattr(error, "hint", None))

    def _run(self, task: Task[..., Any], arguments: Any, number: str) -> dict[str, Any]:
        with self._exchange.output_files(number) as files:
            args, kwargs = task.signature.decode(arguments, files)
        inner = self._call.inner(task, args, kwargs)
        with self._guard:
            if self._closed:
                return _said("Cancelled", "the calling task has ended")
            self._active.add(inner)
        try:
            done = inner.run()
        finally:
            with self._guard:
                self._active.discard(inner)
        try:
            with self._exchange.input_files(number) as files:
                return {"result": task.signature.encode_result(done.result, files)}
        finally:
            if inner.arrival is not None:  # its files have gone on into the container
                inner.arrival.discard()


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
    except RuntimeSpecError:  # it goes by value
        return str(task.function.__module__)


def _settings(said: Any) -> dict[str, Any]:
    """The options that a container may change in a task that it calls."""
    if not isinstance(said, dict):
        return {}
    refused = sorted(set(said) - set(_MAY_CHANGE))
    if refused:
        raise RuntimeSpecError(f"a task cannot override `{refused[0]}` of a task that it calls")
    made: dict[str, Any] = {}
    for name, value in said.items():
        resources = name in ("limits", "resources") and isinstance(value, dict)
        made[name] = Resources(**_plain(value)) if resources else value
    return made


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    known = ("cpu", "memory", "mem", "gpu", "disk", "shm")
    return {name: tuple(item) if isinstance(item, list) else item for name, item in value.items() if name in known}


def _said(
    kind: str, message: str, *, hint: str | None = None, builtin: bool = False, traceback: str = ""
) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message, "hint": hint, "builtin": builtin, "traceback": traceback}}
