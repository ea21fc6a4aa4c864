"""The history of runs: a file of JSON lines in the user's cache directory, one line a run, the newest last."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.portable import fast_json
from flyte_images_runtime.system.atomic import private_directory, write

from ..errors import SpecError
from ..store.cache_dir import cache_dir
from .run_logs import remove_logs

if TYPE_CHECKING:
    from flyte_images_runtime.resources.metrics import Metrics

_LARGEST = 4 << 20  # bytes; when the file is larger, the older half of its lines is removed


def history_path(environ: Mapping[str, str]) -> Path:
    """Return the file of the history."""
    return cache_dir(environ) / "runs.jsonl"


def record(
    environ: Mapping[str, str],
    *,
    task: str,
    image: str,
    run: str = "",
    end: str,
    message: str = "",
    metrics: Metrics | None = None,
    attempts: int = 1,
    cached: bool = False,
) -> None:
    """Append a run to the history. `end` is "done", or the class name of the error that ended the run.

    A history that cannot be written is ignored: no run fails because of it.
    """
    line = {
        "id": run,
        "time": round(time.time(), 3),
        "task": task,
        "image": image,
        "end": end,
        "message": message[:500],
        "attempts": attempts,
        "cached": cached,
        "metrics": metrics.as_dict() if metrics else None,
    }
    with contextlib.suppress(OSError, SpecError):
        path = history_path(environ)
        text = fast_json.dumps(line).encode() + b"\n"
        with _locked(path, fcntl.LOCK_SH) as descriptor:
            os.write(descriptor, text)  # one write: lines of two processes do not mix
            large = os.fstat(descriptor).st_size > _LARGEST
        if large:
            _halve(path, environ)


@contextlib.contextmanager
def _locked(path: Path, lock: int) -> Iterator[int]:
    """Open the file for appending, and lock it. While the lock is held, no other file takes its name."""
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, lock)
            if _has_name(descriptor, path):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _has_name(descriptor: int, path: Path) -> bool:
    """Return whether the open file still has this name: `_halve` puts another file in its place."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        private_directory(path.parent)
        return os.open(path, flags, 0o600)


def recent(environ: Mapping[str, str], count: int = 20) -> list[dict[str, Any]]:
    """Return the last `count` runs, the newest last."""
    try:
        lines = history_path(environ).read_bytes().splitlines()
    except OSError:
        return []
    return list(_parsed(lines[-count:]))


def _parsed(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with contextlib.suppress(ValueError):
            run = json.loads(line)
            if isinstance(run, dict):
                yield run


def _halve(path: Path, environ: Mapping[str, str]) -> None:
    """Remove the older half of the lines, and the logs of its runs. The lock keeps other processes from appending."""
    with _locked(path, fcntl.LOCK_EX) as descriptor:
        if os.fstat(descriptor).st_size <= _LARGEST:
            return  # another process has halved the file
        lines = path.read_bytes().splitlines(keepends=True)
        older, newer = lines[: len(lines) // 2], lines[len(lines) // 2 :]
        write(path, b"".join(newer))
    remove_logs(environ, {str(run.get("id")) for run in _parsed(older)})
