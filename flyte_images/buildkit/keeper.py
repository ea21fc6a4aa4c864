"""Keeps one buildkitd running for as long as builds come: python -m flyte_images.buildkit.keeper RUN IDLE COMMAND...

It ends with its daemon, and its daemon with it.
"""

from __future__ import annotations

import ctypes
import fcntl
import signal
import subprocess
import sys
import time
from pathlib import Path

from .ondemand import locked

_PR_SET_PDEATHSIG = 1


def keep(run: Path, idle: float, command: tuple[str, ...]) -> int:
    """Run `command` until nobody has held the lock `use` for `idle` seconds."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with subprocess.Popen(command, preexec_fn=_die_with_parent) as daemon:
        try:
            last_used = time.monotonic()
            while _runs(daemon, min(1.0, idle / 4)):
                if not _unused(run):
                    last_used = time.monotonic()
                elif time.monotonic() - last_used > idle:
                    with locked(run / "change"):
                        if _unused(run):
                            daemon.terminate()
                            return daemon.wait()
        finally:
            daemon.terminate()
    return daemon.returncode


def _runs(daemon: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait, and say whether it still runs."""
    try:
        daemon.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _unused(run: Path) -> bool:
    with (run / "use").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1]), float(sys.argv[2]), tuple(sys.argv[3:])))
