"""Open missing standard streams, and mark errors of stdout as such."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

STDOUT = "stdout"
"""The file name in an OSError of stdout."""


class _Output(io.FileIO):
    """The raw stdout; its errors carry the file name `STDOUT`."""

    def write(self, data: Any) -> Any:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = STDOUT
            raise


def prepare_streams() -> None:
    """Open the standard streams that this process was started without; else the next opened file would become one.

    Such a stdin is empty, a write to such a stdout fails, and such a stderr discards everything.
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


def _name_stdout(stream: Any) -> None:
    """Replace sys.stdout by a stream that names itself in errors, unless somebody has replaced it already."""
    unbuffered = type(getattr(stream, "buffer", None)) is io.FileIO  # PYTHONUNBUFFERED
    if type(stream) is not io.TextIOWrapper or stream.fileno() != 1:
        return
    raw = _Output(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=unbuffered,
    )


def silence_stdout() -> None:
    """Send the interpreter's last flush to /dev/null, so that it does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
