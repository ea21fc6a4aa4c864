"""Podman's API service: a socket that exists, or a service that is started for as long as it is used."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import EngineLost

_IDLE = 300  # seconds without a request after which a service started here ends
_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Service:
    """`podman system service` at `socket`. `options` are Podman's own (`--root`, `--runtime`, ...).

    ours  whether further services may be started, since it uses the store of `podman` itself
    """

    socket: Path
    options: tuple[str, ...] = ()
    ours: bool = True

    @property
    def address(self) -> str:
        return f"unix://{self.socket}"

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            return link.connect_ex(os.fspath(self.socket)) == 0

    def with_runtime(self, runtime: str) -> Service:
        """Return the same service with another OCI runtime: a separate service on the same store.

        >>> Service(Path("/run/p.sock"), ("--root", "/r")).with_runtime("crun").options
        ('--root', '/r', '--runtime', 'crun')
        """
        socket = self.socket.with_name(f"{self.socket.stem}-{runtime}.sock")
        return Service(socket, (*self.options, "--runtime", runtime))

    def start(self, environ: Mapping[str, str]) -> None:
        """Start the service unless it answers.

        Raise EngineLost with the reason if it fails. It ends when it is not used.
        """
        if self.answers():
            return
        self.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        argv = ("podman", *self.options, "system", "service", "--time", str(_IDLE), self.address)
        # not a pipe: a process dies when it writes to a closed pipe
        log = os.memfd_create("flyte-images-podman", os.MFD_CLOEXEC)
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env=dict(environ),
            )
            self._await(process, log)
        except FileNotFoundError:
            raise EngineLost(
                "the program `podman` is not installed", hint="install it, or use another engine"
            ) from None
        finally:
            os.close(log)

    def _await(self, process: subprocess.Popen[bytes], log: int) -> None:
        end = time.monotonic() + _PATIENCE
        while not self.answers():
            if process.poll() is not None:
                setting = os.pread(log, 4096, 0).decode(errors="replace").strip()
                raise EngineLost(f"Podman's service did not start: {setting[-500:]}", hint="see `podman info`")
            if time.monotonic() > end:
                process.kill()
                process.wait()
                raise EngineLost(f"Podman's service did not answer at {self.socket} in {_PATIENCE:g} s")
            time.sleep(0.02)
        process.returncode = 0  # the service runs on, and this process does not wait for it


def find_service(environ: Mapping[str, str], *, user: int) -> Service:
    """Return the service that answers or would: CONTAINER_HOST, Podman's usual socket, else a socket of this product.

    >>> find_service({"CONTAINER_HOST": "unix:///run/p.sock"}, user=0).address
    'unix:///run/p.sock'
    >>> str(find_service({"XDG_RUNTIME_DIR": "/run/user/1000"}, user=1000).socket)
    '/run/user/1000/flyte-images/podman.sock'
    """
    setting = environ.get("CONTAINER_HOST", "")
    if setting:
        if not setting.startswith("unix:///"):
            raise EngineLost(
                f"tasks cannot run on the Podman at {setting}",
                hint="CONTAINER_HOST must be unix:///path, on this machine",
            )
        return Service(Path(setting.removeprefix("unix://")), ours=False)
    runtime = Path("/run") if user == 0 else Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user}")
    usual = Service(runtime / "podman/podman.sock")
    return usual if _answers(usual) else Service(runtime / "flyte-images/podman.sock")


def _answers(service: Service) -> bool:
    with contextlib.suppress(OSError):
        return service.answers()
    return False
