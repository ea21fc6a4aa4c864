"""The program uv, which comes with this package: where it is, and one run of it within bounds.

An index decides what uv reads. So a run is held to a time, to memory, and to what it says; it is ended, with what it
has started, when its caller is interrupted.
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

_FINDING = threading.Lock()  # it uses sysconfig, which gives half an answer to a second thread of the first call
_SECONDS = 900.0
_SAID = 8 << 20  # bytes of each stream that are kept; a program that says more is ended
_MEMORY = (2 << 30) + (os.cpu_count() or 1) * (32 << 20)  # bytes of its own: the largest sets take a third of it
_WRITTEN = 16 << 30  # bytes of a file


@dataclass(frozen=True, slots=True)
class Said:
    """How a run ended, and what it has written to its streams."""

    code: int
    out: str
    errors: str


def uv_program() -> str:
    """The path of uv; raises ResolveError if it is not there."""
    from uv import find_uv_bin

    try:
        with _FINDING:
            return os.fsdecode(find_uv_bin())
    except FileNotFoundError as error:
        raise ResolveError(f"uv is not there: {error}", hint="pip install uv") from None


def run_uv(
    words: Sequence[str], *, directory: str | Path, environ: Mapping[str, str], seconds: float = _SECONDS
) -> Said:
    """Run uv with `words` to its end. Raise ResolveError if it does not keep within its bounds.

    Nothing secret belongs in `words`: every user of the machine can read them. `environ` is for this user alone.
    """
    process = subprocess.Popen(
        (uv_program(), *words),
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,  # what it starts is ended with it
    )
    try:
        _hold(process.pid)
        with timed("running uv %s", " ".join(words[:2])), ending(lambda: _kill(process.pid)):
            out, errors = _listen(process, time.monotonic() + seconds)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        _kill(process.pid)  # before it is waited for: until then no other group has its number
        code = process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    if code < 0:
        raise ResolveError(
            f"uv was ended by {signal.Signals(-code).name}",
            hint=f"uv is held to {_MEMORY >> 20} MiB of memory: an index that sends without an end takes more",
        )
    return Said(code, out.decode("utf-8", "replace"), errors.decode("utf-8", "replace"))


def _hold(pid: int) -> None:
    import resource

    with contextlib.suppress(OSError, ValueError):  # it has ended, or stricter limits hold
        resource.prlimit(pid, resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (_WRITTEN, _WRITTEN))


def _listen(process: subprocess.Popen[bytes], until: float) -> tuple[bytearray, bytearray]:
    """Read both streams to their ends."""
    assert process.stdout is not None and process.stderr is not None
    said = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in said:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(until - time.monotonic(), 0))
            if not ready:
                raise ResolveError(
                    "uv has not come to an end in time: it waits for an index that hardly sends anything",
                    hint="does the index answer? UV_HTTP_TIMEOUT is the seconds that uv waits for one answer",
                )
            for key, _ in ready:
                assert not isinstance(key.fileobj, int)
                data, kept = os.read(key.fd, 1 << 16), said[key.fileobj]  # type: ignore[index]
                kept += data
                if not data:
                    selector.unregister(key.fileobj)
                if len(kept) > _SAID:
                    raise ResolveError(f"uv says more than {_SAID >> 20} MiB", hint="the index may be hostile")
    return said[process.stdout], said[process.stderr]


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
