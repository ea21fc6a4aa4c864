"""Every error that the runtime raises on purpose, below one root that the hub shares.

`str(error)` says what happened, with the value; `hint` is the remedy; `location` is the user's file and line, if there
is one; `exit_code` is what a command returns: 1 the build or the task failed, 2 wrong use or a wrong description, 3 no
engine or no device.

    FlyteImagesError
        SpecError             a value that no image, task, limit or command can have
        DeviceError           this machine cannot give the accelerator that a task asks for
        TaskError             a task ended badly; `task` is its name
            Raised            the task's own code raised; the remote traceback is in `remote`
            NotSerializable   the result or an argument cannot cross between the processes
            InvalidResult     the container sent a value that the task's signature refuses, or one that is too large
            InvalidArgument   an argument is not what the annotation says; nothing was started
            OutOfMemory       the kernel killed the task at its memory limit
            DiskFull          a write found no space
            TimedOut          the task ran longer than its time limit
            Killed            a signal from outside ended the task
            ImageCannotStart  the image lacks what a task needs, or is for another machine
            EngineLost        the engine went away, or cannot do what the task asks for
            Cancelled         the caller cancelled the task
"""

from __future__ import annotations

import builtins
import errno
from typing import NamedTuple

from .portable.visible import visible

# An exception of a task is raised as the same class only if the class is in this list: built in, and made of text
# alone. A class that a container names is never imported.
_SAFE = frozenset(
    (
        "ArithmeticError",
        "AssertionError",
        "AttributeError",
        "BlockingIOError",
        "BrokenPipeError",
        "BufferError",
        "ChildProcessError",
        "ConnectionAbortedError",
        "ConnectionError",
        "ConnectionRefusedError",
        "ConnectionResetError",
        "EOFError",
        "FileExistsError",
        "FileNotFoundError",
        "FloatingPointError",
        "ImportError",
        "IndexError",
        "InterruptedError",
        "IsADirectoryError",
        "KeyError",
        "LookupError",
        "MemoryError",
        "ModuleNotFoundError",
        "NameError",
        "NotADirectoryError",
        "NotImplementedError",
        "OSError",
        "OverflowError",
        "PermissionError",
        "ProcessLookupError",
        "RecursionError",
        "ReferenceError",
        "RuntimeError",
        "StopIteration",
        "SyntaxError",
        "TimeoutError",
        "TypeError",
        "UnboundLocalError",
        "ValueError",
        "ZeroDivisionError",
    )
)


class Location(NamedTuple):
    """A line of the user's code: absolute file name and 1-based line number.

    >>> str(Location("/home/ada/app.py", 7))
    '/home/ada/app.py:7'
    """

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class FlyteImagesError(Exception):
    """Base of every error that flyte-images raises on purpose.

    `exit_code` replaces the code of the class.

    >>> error = SpecError("unknown name `x`", hint="did you mean `y`?")
    >>> str(error), error.hint, error.exit_code, error.location
    ('unknown name `x`', 'did you mean `y`?', 2, None)
    """

    exit_code = 1

    def __init__(
        self, message: str, *, hint: str | None = None, location: Location | None = None, exit_code: int | None = None
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.location = location
        if exit_code is not None:
            self.exit_code = exit_code


class SpecError(FlyteImagesError, ValueError):
    """The caller's mistake: a value that no image, task, limit or command can have."""

    exit_code = 2


class DeviceError(FlyteImagesError, RuntimeError):
    """This machine cannot give the accelerator that a task asks for. The message lists what the machine has."""

    exit_code = 3


class TaskError(FlyteImagesError):
    """Base of the errors with which a task ends.

    The message and the hint may quote a container: control characters in them are escaped.
    """

    def __init__(self, message: str, *, task: str = "", hint: str | None = None) -> None:
        super().__init__(visible(message), hint=None if hint is None else visible(hint))
        self.task = task


class Remote(NamedTuple):
    """An exception that was raised inside a container: class name, message, traceback as text, errno, and its cause."""

    type: str
    message: str
    traceback: str = ""
    errno: int | None = None
    bases: tuple[str, ...] = ()
    cause: Remote | None = None

    def has(self, name: str) -> bool:
        """Return whether the class is, or derives from, the built-in class `name`."""
        return name == self.type or name in self.bases


class Raised(TaskError):
    """The task's own code raised.

    >>> str(Raised(Remote(type="app.Broken", message="no data"), task="ml.train"))
    'task `ml.train` raised app.Broken: no data'
    """

    def __init__(self, remote: Remote, *, task: str = "", hint: str | None = None) -> None:
        message = f": {remote.message}" if remote.message else ""
        super().__init__(f"task `{task}` raised {remote.type}{message}", task=task, hint=hint)
        self.remote = remote
        traceback = visible(remote.traceback).rstrip()
        self.note = f"\nin the container of task `{task}`:\n{traceback}" if traceback else ""

    def as_builtin(self) -> Exception | None:
        """Return the error as the caller's own code would have raised it, or None if its class is not built in.

        >>> error = Raised(Remote(type="ValueError", message="no data", traceback="..."), task="t").as_builtin()
        >>> error, isinstance(error.__cause__, Raised)
        (ValueError('no data'), True)
        """
        if self.remote.type not in _SAFE:
            return None
        error: Exception = getattr(builtins, self.remote.type)(self.remote.message)
        if isinstance(error, OSError) and self.remote.errno is not None:
            error.errno = self.remote.errno
        error.__cause__ = self
        if self.note:
            error.add_note(self.note)
        return error


class NotSerializable(TaskError):
    """The result or an argument cannot cross between the processes."""


NotSerialisable = NotSerializable  # the spelling until 2026


class InvalidResult(NotSerializable):
    """The container sent a value that the task's signature refuses, or one that is larger than the caller allows."""


class InvalidArgument(TaskError, TypeError):
    """An argument is not what the task's signature says. No container was started."""

    exit_code = 2


class Process(NamedTuple):
    """A process of the task as it was last seen. `memory` is its resident set in bytes."""

    pid: int
    memory: int
    command: str = ""


class OutOfMemory(TaskError, MemoryError):
    """The kernel killed the task at its memory limit. `limit`, `peak` and `suggested` are bytes, or None if unknown."""

    def __init__(
        self,
        message: str,
        *,
        task: str = "",
        hint: str | None = None,
        limit: int | None = None,
        peak: int | None = None,
        suggested: int | None = None,
        processes: tuple[Process, ...] = (),
    ) -> None:
        super().__init__(message, task=task, hint=hint)
        self.limit = limit
        self.peak = peak
        self.suggested = suggested
        self.processes = processes


class DiskFull(TaskError, OSError):
    """A write of the task found no space."""

    def __init__(self, message: str, *, task: str = "", hint: str | None = None) -> None:
        super().__init__(message, task=task, hint=hint)
        self.errno = errno.ENOSPC


class TimedOut(TaskError, TimeoutError):
    """The task ran longer than its time limit."""


class Killed(TaskError):
    """A signal ended the task's process, and neither a limit nor the caller sent it."""

    def __init__(self, message: str, *, task: str = "", hint: str | None = None, exit_status: int = 0) -> None:
        super().__init__(message, task=task, hint=hint)
        self.exit_status = exit_status


class Cancelled(TaskError):
    """The caller cancelled the task before its end."""


class ImageCannotStart(TaskError):
    """The container ended before the task began."""


class EngineLost(TaskError):
    """The engine does not answer, went away, or cannot do what the task asks for."""

    exit_code = 3
