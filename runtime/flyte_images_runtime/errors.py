"""The errors of the runtime. `str(error)` names the value, `hint` the remedy, `exit_code` what a command returns.

The hub's errors have the same attributes with the same meaning; this leaf does not import them.
"""

from __future__ import annotations


class RuntimeSpecError(ValueError):
    """The caller's mistake: a resource, an accelerator or an option that no task can have."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class DeviceError(RuntimeError):
    """This machine cannot give the accelerator that is asked for. The message lists what is there."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
