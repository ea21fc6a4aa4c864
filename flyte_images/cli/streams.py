"""The standard streams of this process: all three are there, and an error of stdout says that it is stdout's."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

STDOUT = "stdout"
"""The file name in an OSError of stdout."""


class _Output(io.FileIO):
    """The raw stdout."""

    def write(self, data: Any) -> Any:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = STDOUT
            raise


def prepare_streams() -> None:
    """Give this process the standard streams that it was started without: else the next file that it opens is one.

    Nothing comes from such a stdin, a write to such a stdout fails as it does for every program, stderr is silent.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, mode)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    _name_stdout(sys.stdout)


def _name_stdout(before: Any) -> None:
    """Put a stream in the place of sys.stdout whose errors say what they are of, if it is this process's own."""
    unbuffered = type(getattr(before, "buffer", None)) is io.FileIO  # PYTHONUNBUFFERED
    if type(before) is not io.TextIOWrapper or before.fileno() != 1:
        return
    raw = _Output(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=before.encoding,
        errors=before.errors,
        line_buffering=before.line_buffering,
        write_through=unbuffered,
    )


def silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere instead of complaining."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
