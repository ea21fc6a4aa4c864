"""A Podman and a containerd with nerdctl, each with a private store, which end with the test."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from flyte_images_runtime.engines.nerdctl import Nerdctl, NerdctlEngine
from flyte_images_runtime.engines.podman import PodmanEngine, Service

from .user_engines import PODMAN

_PATIENCE = 60.0


@contextlib.contextmanager
def own_podman() -> Iterator[PodmanEngine]:
    """Give root's Podman, with a store in a directory with a short path: Podman takes 50 characters at most."""
    with tempfile.TemporaryDirectory(prefix="fi-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        yield from _podman_in(Path(directory))


def _podman_in(place: Path) -> Iterator[PodmanEngine]:
    settings = place / "containers.conf"
    settings.write_text(PODMAN)
    environ = {**os.environ, "CONTAINERS_CONF": str(settings)}
    roots = ("--root", str(place / "root"), "--runroot", str(place / "run"))
    options = (*roots, "--runtime", "runc", "--cgroup-manager", "cgroupfs")
    try:
        yield PodmanEngine(Service(place / "podman.sock", options), environ=environ)
    finally:
        for path in place.glob("*.sock"):
            end_service(path)
        subprocess.run(
            ("podman", *options, "system", "reset", "--force"), env=environ, capture_output=True, check=False
        )


def end_service(path: Path) -> None:
    """End the process that listens at this socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))
        pid, _, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        os.kill(pid, signal.SIGTERM)


@contextlib.contextmanager
def own_containerd(place: Path) -> Iterator[NerdctlEngine]:
    """Give containerd and nerdctl, without Docker."""
    with tempfile.TemporaryDirectory(prefix="fi-", dir="/tmp", ignore_cleanup_errors=True) as short:
        address = f"{short}/containerd.sock"
        config = place / "config.toml"
        config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        argv = ("containerd", "--config", config, "--root", place / "root", "--state", f"{short}/state")
        with (place / "log").open("wb") as log:
            process = subprocess.Popen((*argv, "--address", address), stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + _PATIENCE
            while not Path(address).is_socket():
                assert process.poll() is None and time.monotonic() < deadline, (place / "log").read_text()
                time.sleep(0.05)
            own = ("--data-root", str(place / "data"), "--cni-netconfpath", str(place / "cni"))
            plugins = {"CNI_PATH": "/usr/lib/cni"}  # Debian's directory
            options = ("--address", address, "--namespace", "flyte-images-test", *own)
            yield NerdctlEngine(Nerdctl(options, {**os.environ, **plugins}))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            for line in reversed(Path("/proc/mounts").read_text().splitlines()):
                if line.split()[1].startswith((f"{place}/", f"{short}/")):
                    subprocess.run(("umount", "--lazy", line.split()[1]), check=False)
            # the bridge of its first task with a network: the next containerd would collide with its address
            subprocess.run(("ip", "link", "delete", "nerdctl0"), check=False, capture_output=True)
