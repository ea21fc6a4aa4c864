"""The program uv, a dependency of this package: its path, and one bounded run of it.

An index decides which data uv reads. So a run has limits of time, memory and output. When the caller is interrupted, uv
and the processes that it started are ended.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flyte_images_runtime.system.diagnostics import timed
from flyte_images_runtime.system.interruptible import ending

from ..errors import ResolveError

_FINDING = threading.Lock()  # sysconfig gives a second thread half an answer during its first call
_SECONDS = 900.0
_MAX_OUTPUT = 8 << 20  # bytes of each stream; a program that writes more is ended
_MEMORY = (2 << 30) + (os.cpu_count() or 1) * (
    32 << 20
)  # bytes of private memory: the largest package sets take a third of that
_MAX_FILE = 16 << 30  # bytes


@dataclass(frozen=True, slots=True)
class UvResult:
    """The exit status and the output of a run."""

    status: int
    stdout: str
    stderr: str


def uv_program() -> str:
    """Return the path of uv. Raise ResolveError if uv is not installed."""
    from uv import find_uv_bin

    try:
        with _FINDING:
            return os.fsdecode(find_uv_bin())
    except FileNotFoundError as error:
        raise ResolveError(f"uv is not installed: {error}", hint="pip install uv") from None


def run_uv(
    arguments: Sequence[str], *, directory: str | Path, environ: Mapping[str, str], seconds: float = _SECONDS
) -> UvResult:
    """Run uv with `arguments` to its end, `seconds` at most. Raise ResolveError if uv exceeds a limit.

    `arguments` must not hold secrets: every user of the machine can read them. Only this user can read `environ`.
    """
    process = subprocess.Popen(
        (uv_program(), *arguments),
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,  # uv ends together with its children
    )
    try:
        _limit(process.pid)
        with timed("running uv %s", " ".join(arguments[:2])), ending(lambda: _kill(process.pid)):
            stdout, stderr = _read_output(process, time.monotonic() + seconds)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        _kill(process.pid)  # before wait(): until then no other group has the number
        status = process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    if status < 0:
        raise ResolveError(
            f"uv was ended by {signal.Signals(-status).name}",
            hint=f"the memory limit of uv is {_MEMORY >> 20} MiB; an endless answer of an index exceeds it",
        )
    return UvResult(status, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"))


def _limit(pid: int) -> None:
    import resource

    with contextlib.suppress(OSError, ValueError):  # uv has ended, or stricter limits apply
        resource.prlimit(pid, resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (_MAX_FILE, _MAX_FILE))


def _read_output(process: subprocess.Popen[bytes], until: float) -> tuple[bytearray, bytearray]:
    """Read both streams to their ends. Raise ResolveError after `until`, or if a stream is too long."""
    assert process.stdout is not None and process.stderr is not None
    output = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in output:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(until - time.monotonic(), 0))
            if not ready:
                raise ResolveError(
                    "uv did not end in time: it waits for an index that sends almost nothing",
                    hint="check that the index answers; UV_HTTP_TIMEOUT sets how many seconds uv waits for one answer",
                )
            for key, _ in ready:
                assert not isinstance(key.fileobj, int)
                data, buffer = os.read(key.fd, 1 << 16), output[key.fileobj]  # type: ignore[index]
                buffer += data
                if not data:
                    selector.unregister(key.fileobj)
                if len(buffer) > _MAX_OUTPUT:
                    raise ResolveError(
                        f"uv wrote more than {_MAX_OUTPUT >> 20} MiB of output", hint="the index may be hostile"
                    )
    return output[process.stdout], output[process.stderr]


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
