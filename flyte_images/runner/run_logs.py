"""Run logs, the lines that runs print: kept in bounded files, which can be followed while they are written.

<cache>/logs/ID.0      the beginning, after a line of JSON: the run's task, start, container; locked until the run ends
<cache>/logs/ID.1 ...  the lines after that, a megabyte in each file; only the last files stay

A line is `SECONDS o|e TEXT`: the time of its arrival, stdout or stderr, its text. The values of secrets are removed
before a line reaches this module.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flyte_images_runtime.system.atomic import partial_path, private_directory

from ..errors import SpecError
from ..store.bounded_dir import BoundedDirectory
from ..store.cache_dir import cache_dir

PART = 1 << 20
"""Bytes of a file, after which the next file begins."""

_LAST = 7  # files that stay beside the first
_MOST = 256 << 20  # bytes of all logs; the oldest beyond that are removed
_RUNS = 2000  # runs whose logs stay
_FILE = re.compile(r"([0-9a-f]{4,40})\.([0-9]{1,9})")
_PAUSE = 0.1  # seconds between two reads of a log that is being written
_STATES = 5.0  # seconds between two recorded states of a line that overwrites itself

Stream = Literal["stdout", "stderr"]
_MARKS: dict[Stream, str] = {"stdout": "o", "stderr": "e"}
_STREAMS: dict[bytes, Stream] = {b"o": "stdout", b"e": "stderr"}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a run log. time: seconds since 1970."""

    time: float
    stream: Stream
    text: str


def logs_directory(environ: Mapping[str, str]) -> Path:
    """Return the directory of all run logs."""
    return cache_dir(environ) / "logs"


class LogWriter:
    """Writes the log of one run, from its first line on. No run fails because its log cannot be written."""

    def __init__(self, environ: Mapping[str, str], run: str, *, about: Mapping[str, Any]) -> None:
        self._environ = environ
        self._run = run
        self._about = about
        self._head = -1
        self._file = -1
        self._number = 0
        self._room = PART
        self._failed = False
        self._due = 0.0

    def state(self, stream: Stream, text: str) -> None:
        """Write a state of a line that overwrites itself; every five seconds at most."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _STATES
            self.add(stream, text)

    def add(self, stream: Stream, text: str) -> None:
        """Write a line."""
        if self._failed:
            return
        line = f"{time.time():.6f} {_MARKS[stream]} {text}\n".encode(errors="replace")
        try:
            if self._head < 0:
                self._begin()
            elif self._room < len(line):
                self._begin_next_file()
            os.write(self._file, line)  # one write, so that a reader sees whole lines
        except (OSError, SpecError):
            self._failed = True
            self.close()
        self._room -= len(line)

    def close(self) -> None:
        """End the log. Each sixteenth writer, by its id, also removes logs that are beyond the bounds."""
        began = self._head >= 0
        for number in {self._head, self._file} - {-1}:
            with contextlib.suppress(OSError):
                fcntl.flock(number, fcntl.LOCK_UN)  # a fork of this process may hold the lock too
            with contextlib.suppress(OSError):
                os.close(number)
        self._head = self._file = -1
        self._failed = True
        if began and self._run.startswith("0"):
            logs_in(logs_directory(self._environ)).evict()

    def _begin(self) -> None:
        """Make the first file, which appears under its name with its head written and its lock taken."""
        directory = logs_directory(self._environ)
        private_directory(directory)
        with partial_path(directory) as partial:
            self._head = self._file = _new(partial)
            with contextlib.suppress(OSError):  # without locks on this file system, the run looks as if it had ended
                fcntl.flock(self._head, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._file, json.dumps({"run": self._run, "since": time.time(), **self._about}).encode() + b"\n")
            partial.rename(directory / f"{self._run}.0")

    def _begin_next_file(self) -> None:
        directory = logs_directory(self._environ)
        file = _new(directory / f"{self._run}.{self._number + 1}")
        if self._file != self._head:
            os.close(self._file)
        self._file, self._number, self._room = file, self._number + 1, PART
        if self._number > _LAST:
            (directory / f"{self._run}.{self._number - _LAST}").unlink(missing_ok=True)


def _new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def list_runs(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the runs that have a log, and the head of each log: task, since (seconds since 1970), container."""
    heads = {}
    for run, parts in _parts(logs_directory(environ)).items():
        with contextlib.suppress(OSError, ValueError):
            with open(parts[0], "rb") as file:
                head = json.loads(file.readline())
            if isinstance(head, dict):
                heads[run] = head
    return heads


def exists(environ: Mapping[str, str], run: str) -> bool:
    """Return whether the run has a log."""
    return (logs_directory(environ) / f"{run}.0").exists()


def is_active(environ: Mapping[str, str], run: str) -> bool:
    """Return whether the run is active: its log stays locked until the run ends or its process does."""
    return _is_locked(logs_directory(environ) / f"{run}.0")


def _is_locked(path: Path) -> bool:
    try:
        head = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(head, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(head)
    return False


def lines(
    environ: Mapping[str, str],
    run: str,
    *,
    follow: bool = False,
    tail: int | None = None,
    stream: Stream | None = None,
) -> Iterator[LogLine]:
    """Yield the lines of the run's log, or its last `tail` lines; with `follow` also new lines until the run ends."""
    last: collections.deque[LogLine] = collections.deque(maxlen=tail)
    collecting = tail is not None
    for line in _lines(logs_directory(environ), run, follow):
        if line is None:
            yield from last
            last.clear()
            collecting = False
        elif stream in (None, line.stream):
            if collecting:
                last.append(line)
            else:
                yield line
    yield from last


def _lines(directory: Path, run: str, follow: bool) -> Iterator[LogLine | None]:
    """Yield the lines in order; yield None when all lines until now have been read and more may come."""
    number = 0
    while True:
        try:
            file = open(directory / f"{run}.{number}", "rb")  # noqa: SIM115
        except OSError:
            later = [at for at in _numbers(directory, run) if at > number]
            if not later:
                return
            if number:
                yield LogLine(time.time(), "stderr", "... lines left out ...")
            number = later[0]
            continue
        with file:
            if number == 0:
                file.readline()
            while True:
                # checked before the last read, so that no line written in between is missed
                ended = not follow or not _is_locked(directory / f"{run}.0")
                ended = ended or any(at > number for at in _numbers(directory, run))
                yield from _read(file)
                if ended:
                    break
                yield None
                time.sleep(_PAUSE)
        number += 1


def _read(file: Any) -> Iterator[LogLine]:
    while raw := file.readline():
        if not raw.endswith(b"\n"):  # a line that is being written
            file.seek(-len(raw), os.SEEK_CUR)
            return
        when, mark, text = [*raw.rstrip(b"\n").split(b" ", 2), b"", b""][:3]
        with contextlib.suppress(ValueError, KeyError):
            yield LogLine(float(when), _STREAMS[mark], text.decode(errors="replace"))


def remove_logs(environ: Mapping[str, str], runs: Collection[str]) -> None:
    """Remove the logs of these runs, except of those that are active."""
    with contextlib.suppress(SpecError):
        logs = logs_in(logs_directory(environ))
        for entry in logs.entries():
            if entry.name in runs:
                logs.remove(entry)


def logs_in(directory: Path) -> BoundedDirectory:
    """Return the logs in `directory`, one entry a run, with their bounds. The logs of active runs stay."""
    return BoundedDirectory(path=directory, largest=_MOST, most=_RUNS, entry_of=_run_of, claim=_claim)


def _run_of(name: str) -> str | None:
    match = _FILE.fullmatch(name)
    return match[1] if match else None


@contextlib.contextmanager
def _claim(path: Path) -> Iterator[bool]:
    yield not _is_locked(path)


def _parts(directory: Path) -> dict[str, dict[int, Path]]:
    """Return the files by run and number."""
    files: dict[str, dict[int, Path]] = {}
    with contextlib.suppress(OSError):
        for name in sorted(path.name for path in directory.iterdir()):
            if match := _FILE.fullmatch(name):
                files.setdefault(match[1], {})[int(match[2])] = directory / name
    return {run: parts for run, parts in files.items() if 0 in parts}


def _numbers(directory: Path, run: str) -> list[int]:
    return sorted(_parts(directory).get(run, ()))
