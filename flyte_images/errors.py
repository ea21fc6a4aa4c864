"""Every error that flyte-images raises on purpose: `except flyte.errors.FlyteImagesError` catches all of them.

`str(error)` says what happened, with the value; `hint` is the remedy; `location` is the user's file and line, if there
is one; `exit_code` is what the command line returns: 0 done, 1 the build or the task failed, 2 wrong use or a wrong
description, 3 no engine or no device.

    FlyteImagesError
        SpecError        the description is wrong; raised where it is written
        ResolveError     an index, an archive or a registry gave no usable answer
        BuildError       the build ran and failed
        EngineError      no engine answers, it went away, or it cannot do what a build asks for
        DeviceError      this machine cannot give the accelerator that a task asks for
        TaskError        a task ended badly: Raised, OutOfMemory, TimedOut, ...
"""

from __future__ import annotations

from flyte_images_runtime.errors import (
    Cancelled,
    DeviceError,
    DiskFull,
    EngineLost,
    FlyteImagesError,
    ImageCannotStart,
    InvalidArgument,
    InvalidResult,
    Killed,
    Location,
    NotSerialisable,
    NotSerializable,
    OutOfMemory,
    Process,
    Raised,
    Remote,
    SpecError,
    TaskError,
    TimedOut,
)

__all__ = [
    "BuildError",
    "Cancelled",
    "DeviceError",
    "DiskFull",
    "EngineError",
    "EngineLost",
    "FlyteImagesError",
    "ImageCannotStart",
    "InvalidArgument",
    "InvalidResult",
    "Killed",
    "Location",
    "NotSerialisable",
    "NotSerializable",
    "OutOfMemory",
    "Process",
    "Raised",
    "Remote",
    "ResolveError",
    "SpecError",
    "TaskError",
    "TimedOut",
]


class ResolveError(FlyteImagesError):
    """Names could not be turned into exact files: an unknown package, a conflict, an index that does not answer."""


class BuildError(FlyteImagesError):
    """The build ran and failed. `command` and `log` belong to the step that failed."""

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
    """No engine answers, it went away, or it cannot do what a build asks for."""

    exit_code = 3
