"""What runs have printed: kept beside the history, one run a few files, bounded, to be followed while they are written.

<cache>/logs/ID.0      the beginning, after one line of JSON that says whose it is; locked as long as the run goes on
<cache>/logs/ID.1 ...  what comes later, a megabyte each; of these only the last ones stay

A line is `SECONDS o|e TEXT`: when it came, stdout or stderr, what it says. The values of
secrets were taken out before it came here.
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
"""Bytes after which the next file is begun."""

_LAST = 7  # parts that stay beside the first
_MOST = 256 << 20  # bytes of all logs; then the oldest go
_RUNS = 2000  # whose logs are kept
_FILE = re.compile(r"([0-9a-f]{4,40})\.([0-9]{1,9})")
_PAUSE = 0.1  # seconds between two looks at a log that is being written
_STATES = 5.0  # seconds between two kept states of a line that overwrites itself

Stream = Literal["stdout", "stderr"]
_MARKS: dict[Stream, str] = {"stdout": "o", "stderr": "e"}
_STREAMS: dict[bytes, Stream] = {b"o": "stdout", b"e": "stderr"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line: when it came, where it was written to, what it says."""

    time: float
    stream: Stream
    text: str


def directory_of(environ: Mapping[str, str]) -> Path:
    """Where they are."""
    return cache_dir(environ) / "logs"


class Keeper:
    """Keeps what one run prints, from its first line on. No run fails because it cannot be kept."""

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
        """Keep what a line shows that overwrites itself, now and then."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _STATES
            self.add(stream, text)

    def add(self, stream: Stream, text: str) -> None:
        """Keep a line."""
        if self._failed:
            return
        line = f"{time.time():.6f} {_MARKS[stream]} {text}\n".encode(errors="replace")
        try:
            if self._head < 0:
                self._begin()
            elif self._room < len(line):
                self._go_on()
            os.write(self._file, line)  # one write: who follows sees whole lines
        except (OSError, SpecError):
            self._failed = True
            self.close()
        self._room -= len(line)

    def close(self) -> None:
        """The run has ended."""
        began = self._head >= 0
        for number in {self._head, self._file} - {-1}:
            with contextlib.suppress(OSError):
                fcntl.flock(number, fcntl.LOCK_UN)  # a fork of this process may have it too
            with contextlib.suppress(OSError):
                os.close(number)
        self._head = self._file = -1
        self._failed = True
        if began and self._run.startswith("0"):  # one of sixteen, so that it costs the others nothing
            logs_in(directory_of(self._environ)).evict()

    def _begin(self) -> None:
        """The first file comes to be with its head written and its lock taken."""
        directory = directory_of(self._environ)
        private_directory(directory)
        with partial_path(directory) as partial:
            self._head = self._file = _new(partial)
            with contextlib.suppress(OSError):  # a file system without locks: it looks as if the run had ended
                fcntl.flock(self._head, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._file, json.dumps({"run": self._run, "since": time.time(), **self._about}).encode() + b"\n")
            partial.rename(directory / f"{self._run}.0")

    def _go_on(self) -> None:
        directory = directory_of(self._environ)
        file = _new(directory / f"{self._run}.{self._number + 1}")
        if self._file != self._head:
            os.close(self._file)
        self._file, self._number, self._room = file, self._number + 1, PART
        if self._number > _LAST:
            (directory / f"{self._run}.{self._number - _LAST}").unlink(missing_ok=True)


def _new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def kept(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The runs of which something is kept, and what their logs' heads say: task, since, container."""
    found = {}
    for run, parts in _parts(directory_of(environ)).items():
        with contextlib.suppress(OSError, ValueError):
            with open(parts[0], "rb") as file:
                said = json.loads(file.readline())
            if isinstance(said, dict):
                found[run] = said
    return found


def has(environ: Mapping[str, str], run: str) -> bool:
    """Is something of it kept?"""
    return (directory_of(environ) / f"{run}.0").exists()


def goes_on(environ: Mapping[str, str], run: str) -> bool:
    """Is it still being written? So until the run's end, however its caller ends."""
    return _is_locked(directory_of(environ) / f"{run}.0")


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
) -> Iterator[Line]:
    """What is kept of the run, or the last `tail` lines of it; with `follow` also what comes until its end."""
    there: collections.deque[Line] = collections.deque(maxlen=tail)
    waiting = tail is not None
    for line in _lines(directory_of(environ), run, follow):
        if line is None:
            yield from there
            there.clear()
            waiting = False
        elif stream in (None, line.stream):
            if waiting:
                there.append(line)
            else:
                yield line
    yield from there


def _lines(directory: Path, run: str, follow: bool) -> Iterator[Line | None]:
    """One after the other; None when all that is there has been read and more may come."""
    number = 0
    while True:
        try:
            file = open(directory / f"{run}.{number}", "rb")  # noqa: SIM115
        except OSError:
            later = [at for at in _numbers(directory, run) if at > number]
            if not later:
                return
            if number:
                yield Line(time.time(), "stderr", "... lines left out ...")
            number = later[0]
            continue
        with file:
            if number == 0:
                file.readline()
            while True:
                # looked at before the last line is read: what is written in between is not missed
                over = not follow or not _is_locked(directory / f"{run}.0")
                over = over or any(at > number for at in _numbers(directory, run))
                yield from _read(file)
                if over:
                    break
                yield None
                time.sleep(_PAUSE)
        number += 1


def _read(file: Any) -> Iterator[Line]:
    while raw := file.readline():
        if not raw.endswith(b"\n"):  # half of what is just being written
            file.seek(-len(raw), os.SEEK_CUR)
            return
        when, _, rest = raw.rstrip(b"\n").partition(b" ")
        mark, _, text = rest.partition(b" ")
        with contextlib.suppress(ValueError, KeyError):
            yield Line(float(when), _STREAMS[mark], text.decode(errors="replace"))


def forget(environ: Mapping[str, str], runs: Collection[str]) -> None:
    """Remove the logs of those runs that have ended."""
    with contextlib.suppress(SpecError):
        logs = logs_in(directory_of(environ))
        for entry in logs.entries():
            if entry.name in runs:
                logs.remove(entry)


def logs_in(directory: Path) -> BoundedDirectory:
    """The logs that are kept in `directory`, one entry a run, and their bounds. Logs that are being written stay."""
    return BoundedDirectory(path=directory, largest=_MOST, most=_RUNS, entry_of=_run_of, claim=_claimed)


def _run_of(name: str) -> str | None:
    found = _FILE.fullmatch(name)
    return found[1] if found else None


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    yield not _is_locked(path)


def _parts(directory: Path) -> dict[str, dict[int, Path]]:
    """The files by run and number."""
    found: dict[str, dict[int, Path]] = {}
    with contextlib.suppress(OSError):
        for name in sorted(path.name for path in directory.iterdir()):
            if named := _FILE.fullmatch(name):
                found.setdefault(named[1], {})[int(named[2])] = directory / name
    return {run: parts for run, parts in found.items() if 0 in parts}


def _numbers(directory: Path, run: str) -> list[int]:
    return sorted(_parts(directory).get(run, ()))
