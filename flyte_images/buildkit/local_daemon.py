"""A buildkitd of the user's own: started when a build needs it, shared by all builds, gone when none has come for long.

Locks in its directory decide everything, so that a client that is killed leaves nothing to clean up: `use` is held
shared by each connected client, `change` by whoever starts or stops the daemon, `keeper` by what watches it.
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
    """The program, and the directories that are its own: `state` for what it keeps, `run` for socket and locks."""

    program: str
    state: Path
    run: Path

    @property
    def socket(self) -> Path:
        return self.run / "buildkitd.sock"

    def command(self) -> tuple[str, ...]:
        """How to run it; by rootlesskit where the user is not root."""
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
    """The buildkitd on PATH, else in the user's cache directory, if there is one."""
    try:
        cache = cache_dir(environ)
    except SpecError:  # no home, no place for what it keeps
        return None
    program = shutil.which("buildkitd", path=environ.get("PATH")) or shutil.which("buildkitd", path=str(cache / "bin"))
    if program is None:
        return None
    runtime = environ.get("XDG_RUNTIME_DIR")
    run = Path(runtime) / "flyte-images" if runtime else cache / "run"
    return Daemon(program=program, state=cache / "buildkitd", run=run)


def start(daemon: Daemon, *, idle: float = IDLE) -> TextIO:
    """Make sure that it runs; it does not stop before the returned lock is closed."""
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
    """Does anything accept connections there?"""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file exclusively."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free(path: Path) -> bool:
    """Does nobody hold this lock?"""
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
            said = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise EngineError(f"`{daemon.program}` did not start: {said}", hint=f"its log: {log}")
        time.sleep(0.05)
