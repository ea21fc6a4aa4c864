"""The errors of this package. Each says what happened (with the value), where, and what to do.

The exception class is the noun; `str(error)` is the message; `hint` is the remedy; `location` is the user's file and
line; `exit_code` is what the command line returns (0 done, 1 the build or the task failed, 2 wrong use or wrong spec,
3 no engine or no device).

    FlyteImagesError
        SpecError        the description is wrong: refused where it is written
        ResolveError     an index, an archive or a registry gave no usable answer
        BuildError       the build ran and failed
        EngineError      no engine, or it went away
"""

from __future__ import annotations

from flyte_images_layers.record import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """A place in the user's code: absolute file name and 1-based line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class FlyteImagesError(Exception):
    """Base of all errors that this package raises on purpose.

    >>> str(SpecError("unknown name `x`", hint="did you mean `y`?"))
    'unknown name `x`'
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, location: Location | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.location = location


class SpecError(FlyteImagesError, ValueError):
    """The caller's mistake: a value that no image, task or command can have."""

    exit_code = 2


class ResolveError(FlyteImagesError):
    """Names could not be turned into exact files: unknown package, conflict, unreachable index."""


class BuildError(FlyteImagesError):
    """The build ran and failed; `command` and `log` belong to the step that failed."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        location: Location | None = None,
        command: str | None = None,
        log: str = "",
    ) -> None:
        super().__init__(message, hint=hint, location=location)
        self.command = command
        self.log = log


class EngineError(FlyteImagesError):
    """No engine answers, it went away, or it cannot do what is asked."""

    exit_code = 3
