"""Keep one buildkitd running while builds come: python -m flyte_images.buildkit.supervisor RUN IDLE COMMAND...

The supervisor and its daemon end together. The supervisor detaches from the process that started it, and holds the lock
`keeper` while it runs.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from .local_daemon import free, locked

_PR_SET_PDEATHSIG = 1


def keep(run: Path, idle: float, command: tuple[str, ...]) -> int:
    """Run `command` until no process has held the lock `use` for `idle` seconds. Return the daemon's exit status."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with subprocess.Popen(command, preexec_fn=_die_with_parent) as daemon:
        try:
            last_used = time.monotonic()
            while _runs(daemon, min(1.0, idle / 4)):
                if not free(run / "use"):
                    last_used = time.monotonic()
                elif time.monotonic() - last_used > idle:
                    with locked(run / "change"):
                        if free(run / "use"):
                            daemon.terminate()
                            return daemon.wait()
        finally:
            daemon.terminate()
    return daemon.returncode


def _runs(daemon: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait up to `seconds`, and return whether the daemon still runs."""
    try:
        daemon.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def main(run: Path, idle: float, command: tuple[str, ...]) -> None:
    """Fork into the background and supervise `command`."""
    with (run / "keeper").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fork() == 0:
            sys.exit(keep(run, idle, command))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), tuple(sys.argv[3:]))
