"""How a task can end badly: one class an end. The message has the figures, `hint` the remedy, `task` whose end it was.

TaskError
    Raised            the task's own code raised; the remote traceback is in `remote`
    NotSerializable   the result (or an argument) has no form in which it can cross between the processes
    InvalidResult     what came back is not what the task's signature says, or costs the caller more than it may
    InvalidArgument   an argument is not what the annotation says: nothing was started
    OutOfMemory       the kernel killed it at its memory limit
    DiskFull          there was no room left to write
    TimedOut          it ran longer than it may
    Killed            a signal from outside ended it
    ImageCannotStart  the image does not hold what a task needs, or is for another machine
    EngineLost        the engine went away, or cannot do what is asked
    Cancelled         the caller took it back
"""

from __future__ import annotations

import builtins
import errno
from dataclasses import dataclass, field

from .portable.visible import visible

# What a task raises comes back as the same class only if it is one of these: built in, and made of text alone. A class
# that a container names is never imported.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """What was raised inside: the class's name, the message, the traceback as text, errno, and the cause's own."""

    type: str
    message: str
    traceback: str = ""
    errno: int | None = None
    bases: tuple[str, ...] = ()
    cause: Remote | None = None

    def has(self, name: str) -> bool:
        """Is it, or is it derived from, the built-in class `name`?"""
        return name == self.type or name in self.bases


class TaskError(Exception):
    """Base of all bad ends. `exit_code` is what a command returns for it.

    The message and the hint are for people: what a terminal would obey is spelled out in them.
    """

    exit_code = 1

    def __init__(self, message: str, *, task: str = "", hint: str | None = None) -> None:
        super().__init__(visible(message))
        self.task = task
        self.hint = None if hint is None else visible(hint)


class Raised(TaskError):
    """The task's own code raised.

    >>> str(Raised(Remote(type="app.Broken", message="no data"), task="ml.train"))
    'task `ml.train` raised app.Broken: no data'
    """

    def __init__(self, remote: Remote, *, task: str = "", hint: str | None = None) -> None:
        said = f": {remote.message}" if remote.message else ""
        super().__init__(f"task `{task}` raised {remote.type}{said}", task=task, hint=hint)
        self.remote = remote
        shown = visible(remote.traceback).rstrip()
        self.note = f"\nin the container of task `{task}`:\n{shown}" if shown else ""

    def as_builtin(self) -> Exception | None:
        """The same error as the caller's own code would have raised it, if its class is built in; else None.

        >>> error = Raised(Remote(type="ValueError", message="no data", traceback="..."), task="t").as_builtin()
        >>> error, isinstance(error.__cause__, Raised)
        (ValueError('no data'), True)
        """
        if self.remote.type not in _SAFE:
            return None
        made: Exception = getattr(builtins, self.remote.type)(self.remote.message)
        if isinstance(made, OSError) and self.remote.errno is not None:
            made.errno = self.remote.errno
        made.__cause__ = self
        if self.note:
            made.add_note(self.note)
        return made


class NotSerializable(TaskError):
    """The result or an argument has no form in which it can cross."""


NotSerialisable = NotSerializable  # the name until 2026


class InvalidResult(NotSerializable):
    """What the container sent is not a value of the task's signature, or costs the caller more than it may."""


class InvalidArgument(TaskError, TypeError):
    """An argument is not what the task's signature says."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of the task, as it was last seen."""

    pid: int
    memory: int
    command: str = field(default="")


class OutOfMemory(TaskError, MemoryError):
    """The kernel ended the task at its memory limit."""

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
    """A write found no room."""

    def __init__(self, message: str, *, task: str = "", hint: str | None = None) -> None:
        super().__init__(message, task=task, hint=hint)
        self.errno = errno.ENOSPC


class TimedOut(TaskError, TimeoutError):
    """The task ran longer than its time limit."""


class Killed(TaskError):
    """The task's process was ended by a signal that neither its limits nor the caller sent."""

    def __init__(self, message: str, *, task: str = "", hint: str | None = None, exit_status: int = 0) -> None:
        super().__init__(message, task=task, hint=hint)
        self.exit_status = exit_status


class Cancelled(TaskError):
    """The caller took the task back before its end."""


class ImageCannotStart(TaskError):
    """The container did not get as far as the task."""


class EngineLost(TaskError):
    """The engine does not answer, went away, or cannot do what the task asks for."""

    exit_code = 3
