"""Render a FlyteImagesError on stderr: what happened, where, which command ran, what to do. Without traceback."""

from __future__ import annotations

import linecache
import os
import re
from collections.abc import Mapping
from typing import TextIO

from ..errors import BuildError, FlyteImagesError, Location
from ..progress.lines import Writer
from ..progress.terminal_text import clean

_LOG_LINES = 20
_LONGEST_COMMAND = 400
_WIDEST_SOURCE = 160


def render_error(error: FlyteImagesError, stream: TextIO, *, env: Mapping[str, str] | None = None) -> None:
    """Write `error` for a person. Never raises; escape sequences in the error do not reach the terminal.

    error: app.py:7: step `commands` failed: exit code 3
        image = Image.from_debian_base().with_commands(["exit 3"])
                                        ~~~~~~~~~~~~~~~~~~~~~~~~~^
    command: /bin/sh -c 'exit 3'
    log (last 20 of 57 lines):
      | ...

    hint: ...
    """
    env = os.environ if env is None else env
    out = Writer(stream)
    coloured = _terminal(stream) and not env.get("NO_COLOR") and env.get("TERM") != "dumb"

    def paint(style: str, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if coloured else text

    place = f"{_shown(error.location)}: " if error.location else ""
    first, *rest = str(error).splitlines() or [type(error).__name__]
    out.line(f"{paint('1;31', 'error:')} {place}{clean(first)}")
    for line in rest:  # a resolver's explanation has several lines
        out.line(f"  {clean(line)}".rstrip())
    if error.location:
        for line in _source(error.location, str(error)):
            out.line(line)
    if isinstance(error, BuildError):
        for line in _step(error):
            out.line(line)
    if error.hint:
        out.line("")
        hint, *more = error.hint.splitlines()
        out.line(f"{paint('1', 'hint:')} {clean(hint)}")
        for line in more:
            out.line(f"      {clean(line)}")


def event_of_error(error: FlyteImagesError, stream: TextIO) -> None:
    """Write `error` for a program, as one JSON line like those of `--progress json`.

    `event` is `error`. The fields are `text`, `hint`, `exit_code`, `file`, `line`, `command` and `log`.
    """
    import json

    fields: dict[str, object] = {"event": "error", "text": str(error), "hint": error.hint, "exit_code": error.exit_code}
    if error.location:
        fields |= {"file": error.location.file, "line": error.location.line}
    if isinstance(error, BuildError):
        fields |= {"command": error.command, "log": error.log}
    Writer(stream).line(json.dumps(fields))


def _terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _shown(location: Location) -> str:
    """Return the file and line, relative to the current directory if the file is below it."""
    relative = os.path.relpath(location.file)
    return clean(f"{location.file if relative.startswith('..') else relative}:{location.line}")


def _source(location: Location, message: str) -> list[str]:
    """Return the user's line, and `~~~^` below the culprit: a quoted value of the message, else the last call."""
    linecache.checkcache(location.file)
    line = clean(linecache.getline(location.file, location.line).rstrip())
    text = line.lstrip()
    if not text or len(text) > _WIDEST_SOURCE:
        return []
    begin, end = _culprit(text, message)
    return [f"    {text}", f"    {' ' * begin}{'~' * (end - begin - 1)}^"]


def _culprit(text: str, message: str) -> tuple[int, int]:
    """Return the begin and end of the culprit in a line of source.

    >>> text = 'image = base.with_pip_packages("pandas", "a b")'
    >>> begin, end = _culprit(text, "not a requirement: `a b`")
    >>> text[begin:end]
    'a b'
    >>> begin, end = _culprit(text, "cannot be resolved")
    >>> text[begin:end]
    '.with_pip_packages("pandas", "a b")'
    """
    for value in re.findall(r"`([^`]+)`", message):
        match = re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)
        if match:
            return match.span()
    calls = list(re.finditer(r"\.(?:with_|from_)\w+\(", text))
    return (calls[-1].start(), len(text)) if calls else (0, len(text))


def _step(error: BuildError) -> list[str]:
    lines: list[str] = []
    if error.command:
        command = clean(error.command)
        shown = command if len(command) <= _LONGEST_COMMAND else command[:_LONGEST_COMMAND] + " ..."
        lines.append(f"command: {shown}")
    log = [clean(line).rstrip() for line in error.log.splitlines()]
    while log and not log[-1]:
        log.pop()
    if log:
        left_out = len(log) - _LOG_LINES
        lines.append(f"log (last {_LOG_LINES} of {len(log)} lines):" if left_out > 0 else "log:")
        lines += [f"  | {line}".rstrip() for line in log[-_LOG_LINES:]]
    return lines
