"""A call of another task from inside a task: the caller's process runs the other task in a container for it."""

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
"""The options that a task may override for a task that it calls. The caller's process checks them too."""


class FlyteImagesError(Exception):
    """The base of the errors of flyte_images, as a task sees them inside the container."""

    hint = None


class TaskError(FlyteImagesError):
    """How a called task ended. Subclasses have the names of the errors of flyte_images."""


_errors: dict[str, type] = {"FlyteImagesError": FlyteImagesError, "TaskError": TaskError}


def error_class(name: str) -> type:
    """Return the error class of that name: always the same class, so that `except flyte.OutOfMemory` works."""
    if name == "NotSerialisable":
        return error_class("NotSerializable")
    if name not in _errors:
        special = {
            "TimedOut": (TaskError, TimeoutError),
            "InvalidArgument": (TaskError, TypeError),
            "SpecError": (FlyteImagesError, ValueError),
            "DeviceError": (FlyteImagesError, RuntimeError),
        }
        bases = (error_class("NotSerializable"),) if name == "InvalidResult" else special.get(name, (TaskError,))
        _errors[name] = type(name, bases, {"__module__": "flyte_images"})
    return _errors[name]


def call(task: Any, args: Any, kwargs: Any) -> Any:
    """Run `task` in a container of the task's environment; return its result, or raise its error."""
    from flyte_images_runtime.values import Files, Problem, Signature

    signature = Signature(task.function)
    number = "n%d" % next(_numbers)
    try:
        with Files(paths.OUT + "/" + number) as files:
            arguments = signature.encode(args, kwargs, files)
    except Problem as problem:
        raise error_class("InvalidArgument")("task `%s`: %s" % (task.name, problem.message)) from None
    answer = _request(
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


def _request(document: Any) -> Any:
    """Send a document to the caller's process; return the answer."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.connect(os.path.join(paths.IN, paths.HOST))
        try:
            framing.send(link, document)
        except BrokenPipeError:  # the caller refuses the document; the answer has the reason
            pass
        answer = framing.receive(link)
    except OSError as error:
        raise error_class("EngineLost")("the caller's process cannot be reached: %s" % error) from None
    finally:
        link.close()
    if not isinstance(answer, dict):
        raise error_class("EngineLost")("the caller's process went away")
    return answer


def _settings(options: Any) -> Any:
    """Return the options of `override` as data. Raise ValueError for all but those in SETTINGS."""
    settings = {}
    for name, value in options.items():
        if name not in SETTINGS:
            raise ValueError(
                "a task cannot override `%s` of a task that it calls (hint: write it where the environment of the "
                "called task is defined, or in one made with clone_with)" % name
            )
        settings[name] = vars(value) if hasattr(value, "described") else value
    return settings


def _error(description: Any) -> BaseException:
    """Return the exception that a description of the caller's process stands for."""
    name, message = str(description.get("type")), str(description.get("message"))
    builtin = getattr(builtins, name, None)
    error: Any
    if description.get("builtin") and isinstance(builtin, type) and issubclass(builtin, Exception):
        error = builtin(message)
    else:
        error = error_class(name)(message)
        error.hint = description.get("hint")
    if description.get("traceback") and hasattr(error, "add_note"):
        error.add_note("\nin the container of the called task:\n%s" % description["traceback"])
    exception: BaseException = error
    return exception
