"""Start the user's own buildkitd when a build needs it. All builds share the daemon; it stops after a time without use.

File locks in the daemon's directory decide everything, so that a killed client leaves nothing to clean up: each
connected client holds `use` (shared), a process that starts or stops the daemon holds `change`, and the supervisor
(supervisor.py) holds `keeper`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from flyte_images_runtime.system.atomic import private_directory

from ..errors import EngineError, SpecError
from ..store.cache_dir import cache_dir

IDLE = 600.0
"""Seconds without a client after which the daemon is stopped."""

_START = 60.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """The program and its directories: `state` for the daemon's data, `run` for its socket and locks."""

    program: str
    state: Path
    run: Path

    @property
    def socket(self) -> Path:
        """The path of the daemon's socket."""
        return self.run / "buildkitd.sock"

    def command(self) -> tuple[str, ...]:
        """Return the command that runs the daemon; under rootlesskit if the user is not root.

        Raises EngineError if rootlesskit is needed and not installed.
        """
        own = (self.program, "--addr", f"unix://{self.socket}", "--root", str(self.state))
        if os.geteuid() == 0:
            return own
        rootlesskit = shutil.which("rootlesskit")
        if rootlesskit is None:
            raise EngineError(
                f"`{self.program}` can be started by root, or with rootlesskit, which is not installed",
                hint="install rootlesskit and uidmap, or start a Docker Engine or buildkitd yourself",
            )
        return (rootlesskit, "--net=host", *own, "--rootless")


def find_daemon(environ: Mapping[str, str]) -> Daemon | None:
    """Return the buildkitd on PATH, else in the user's cache directory, else None."""
    try:
        cache = cache_dir(environ)
    except SpecError:  # without a home directory the daemon has no place for its data
        return None
    program = shutil.which("buildkitd", path=environ.get("PATH")) or shutil.which("buildkitd", path=str(cache / "bin"))
    if program is None:
        return None
    runtime = environ.get("XDG_RUNTIME_DIR")
    run = Path(runtime) / "flyte-images" if runtime else cache / "run"
    return Daemon(program=program, state=cache / "buildkitd", run=run)


def start(daemon: Daemon, *, idle: float = IDLE) -> TextIO:
    """Start the daemon unless it runs; the daemon does not stop before the returned lock file is closed.

    `idle` is the time in seconds without a client after which the daemon stops. Raises EngineError if it cannot start.
    """
    private_directory(daemon.run)
    private_directory(daemon.state.parent)
    daemon.state.mkdir(mode=0o711, exist_ok=True)
    with locked(daemon.run / "change"):
        if not answers(daemon.socket):
            _launch(daemon, idle)
        use = (daemon.run / "use").open("a")
        fcntl.flock(use, fcntl.LOCK_SH)
    return use


def answers(path: Path) -> bool:
    """Return whether a server accepts connections on the socket `path`."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file exclusively until the context ends."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free(path: Path) -> bool:
    """Return whether no process holds this lock."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _launch(daemon: Daemon, idle: float) -> None:
    log = daemon.run / "buildkitd.log"
    argv = (sys.executable, "-m", f"{__package__}.supervisor", str(daemon.run), str(idle), *daemon.command())
    with log.open("w") as output:
        subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/", check=False
        )
    deadline = time.monotonic() + _START
    while not answers(daemon.socket):
        if free(daemon.run / "keeper") or time.monotonic() > deadline:
            last_lines = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise EngineError(f"`{daemon.program}` did not start: {last_lines}", hint=f"its log: {log}")
        time.sleep(0.05)
