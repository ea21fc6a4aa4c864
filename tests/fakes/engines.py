"""A Docker Engine of these tests' own, to stop, kill and fill: its own data, its own network, no containers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_START = 60.0


@dataclass
class Engine:
    """A private dockerd, in a network namespace of its own (another one's docker0 would be in its way).

    With a `bridge`, which leads nowhere, it runs commands that want a network. Its sockets are in `sockets`, whose path
    is short: containerd's names below it take what a socket's path may have.
    """

    directory: Path
    sockets: Path
    containerd_store: bool = True
    settings: Mapping[str, object] = field(default_factory=dict)
    bridge: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"docker+{self.api}"

    @property
    def api(self) -> str:
        return f"unix://{self.sockets}/sock"

    def start(self) -> None:
        config = self.directory / "daemon.json"
        features = {"containerd-snapshotter": self.containerd_store}
        config.write_text(json.dumps({"features": features, **self.settings}))
        dockerd = (
            *("dockerd", "--config-file", config, "--data-root", self.directory / "data"),
            *("--exec-root", self.sockets / "exec", "--pidfile", self.directory / "pid"),
            *("-H", f"unix://{self.sockets}/sock", "--iptables=false", "--ip6tables=false"),
            *(("--bip=10.213.7.1/24",) if self.bridge else ("--bridge=none",)),
        )
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(("unshare", "--net", *dockerd), stdout=log, stderr=log)
        deadline = time.monotonic() + _START
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it; killed outright, its containerd and what that runs are killed too."""
        assert self.process
        children = _below(self.process.pid)
        self.process.send_signal(how)
        self.process.wait()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        (self.directory / "pid").unlink(missing_ok=True)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(f"{self.sockets}/sock"):
                return False
            probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in probe.recv(100)


@contextlib.contextmanager
def private_engine(
    directory: Path,
    *,
    containerd_store: bool = True,
    settings: Mapping[str, object] | None = None,
    bridge: bool = False,
) -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="fi-", dir="/tmp", ignore_cleanup_errors=True) as sockets:
        engine = Engine(directory, Path(sockets), containerd_store, settings or {}, bridge)
        try:
            engine.start()
            yield engine
        finally:
            if engine.process is not None and engine.process.poll() is None:
                engine.stop()
            for line in reversed(Path("/proc/mounts").read_text().splitlines()):
                if line.split()[1].startswith((f"{directory}/", f"{sockets}/")):
                    subprocess.run(("umount", "--lazy", line.split()[1]), check=False)


def _below(pid: int) -> list[int]:
    """All processes that descend from one."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            child, rest = stat.read_text().split(" ", 1)
            parents.setdefault(int(rest.rpartition(")")[2].split()[1]), []).append(int(child))
    found, left = [], [pid]
    while left:
        below = parents.get(left.pop(), [])
        found += below
        left += below
    return found
