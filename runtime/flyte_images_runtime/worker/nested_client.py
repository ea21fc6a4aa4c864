"""A call of another task from inside a task: asked of the caller's process, which runs it in its own container."""

from __future__ import annotations

import builtins
import itertools
import os
import socket
from typing import Any

from flyte_images_runtime.portable import framing
from flyte_images_runtime.worker import paths

_numbers = itertools.count(1)
SETTINGS = ("limits", "resources", "timeout", "retries", "cache")
"""What a task may override of a task that it calls, and no more: the caller's process looks too."""


class FlyteImagesError(Exception):
    """Base of the errors of flyte_images, as a task sees them inside the container."""

    hint = None


class TaskError(FlyteImagesError):
    """How a called task ended; the subclasses have the names of those of flyte_images."""


_kinds: dict[str, type] = {"FlyteImagesError": FlyteImagesError, "TaskError": TaskError}


def kind(name: str) -> type:
    """Return the error class of that name: always the same class, so that `except flyte.OutOfMemory` holds."""
    if name == "NotSerialisable":
        return kind("NotSerializable")
    if name not in _kinds:
        bases = {
            "TimedOut": (TaskError, TimeoutError),
            "InvalidArgument": (TaskError, TypeError),
            "SpecError": (FlyteImagesError, ValueError),
            "DeviceError": (FlyteImagesError, RuntimeError),
        }
        found = (kind("NotSerializable"),) if name == "InvalidResult" else bases.get(name, (TaskError,))
        _kinds[name] = type(name, found, {"__module__": "flyte_images"})
    return _kinds[name]


def call(task: Any, args: Any, kwargs: Any) -> Any:
    """Run `task` in a container of its own environment; return its result, or raise what it raised."""
    from flyte_images_runtime.values import Files, Problem, Signature

    signature = Signature(task.function)
    number = "n%d" % next(_numbers)
    try:
        with Files(paths.OUT + "/" + number) as files:
            arguments = signature.encode(args, kwargs, files)
    except Problem as problem:
        raise kind("InvalidArgument")("task `%s`: %s" % (task.name, problem.message)) from None
    answer = _ask(
        {
            "module": task.function.__module__,
            "qualname": task.function.__qualname__,
            "arguments": arguments,
            "number": number,
            "settings": _settings(task.settings),
        }
    )
    if "error" in answer:
        raise _error(answer["error"])
    with Files(paths.IN + "/" + number, paths.LARGE + "/" + number, in_place=True) as files:
        return signature.decode_result(answer["result"], files)


def _ask(question: Any) -> Any:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.connect(os.path.join(paths.IN, paths.HOST))
        try:
            framing.send(link, question)
        except BrokenPipeError:  # it was refused, and the answer says why
            pass
        answer = framing.receive(link)
    except OSError as error:
        raise kind("EngineLost")("the caller's process cannot be reached: %s" % error) from None
    finally:
        link.close()
    if not isinstance(answer, dict):
        raise kind("EngineLost")("the caller's process went away")
    return answer


def _settings(given: Any) -> Any:
    """What `override` was given, as data. Only what a container may decide: no variables, rights, mounts or secrets."""
    said = {}
    for name, value in given.items():
        if name not in SETTINGS:
            raise ValueError(
                "a task cannot override `%s` of a task that it calls (hint: write it where the environment of the "
                "called task is defined, or in one made with clone_with)" % name
            )
        said[name] = vars(value) if hasattr(value, "described") else value
    return said


def _error(said: Any) -> BaseException:
    name, message = str(said.get("type")), str(said.get("message"))
    found = getattr(builtins, name, None)
    if said.get("builtin") and isinstance(found, type) and issubclass(found, Exception):
        made: Any = found(message)
    else:
        made = kind(name)(message)
        made.hint = said.get("hint")
    if said.get("traceback") and hasattr(made, "add_note"):
        made.add_note("\nin the container of the called task:\n%s" % said["traceback"])
    error: BaseException = made
    return error
