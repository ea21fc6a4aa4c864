"""A Docker Engine and a registry of the bench's own: what is pruned, filled or counted here is nobody else's.

Both live under one directory and end with the `with` block. They need root, like any Docker Engine.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_BRIDGE = "flytebench0"
_CONTAINERD = """
version = 2
root = "{root}/containerd"
state = "{state}/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{state}/containerd.sock"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A private Docker Engine; `env` is what a client needs to talk to it and to nothing else."""

    host: str
    docker_config: Path

    @property
    def env(self) -> dict[str, str]:
        # Byte-code of every client is kept, as on anybody's machine.
        left_out = ("DOCKER_CONTEXT", "BUILDKIT_HOST", "FLYTE_IMAGES_CACHE", "PYTHONDONTWRITEBYTECODE")
        env = {name: value for name, value in os.environ.items() if name not in left_out}
        return {**env, "DOCKER_HOST": self.host, "DOCKER_CONFIG": str(self.docker_config)}

    def docker(self, *args: str, input: bytes | None = None) -> str:
        done = subprocess.run(("docker", *args), env=self.env, input=input, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(args)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode().strip()

    def forget_builds(self, *, keep: tuple[str, ...]) -> None:
        """Remove every image but `keep` and the whole build cache with its cache mounts."""
        names = self.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
        gone = [name for name in names if name not in keep and "<none>" not in name]
        if gone:
            self.docker("image", "rm", "--force", *gone)
        self.docker("builder", "prune", "--all", "--force")

    def version(self) -> str:
        return self.docker("version", "--format", "{{.Server.Version}}")


@contextlib.contextmanager
def engine(directory: Path) -> Iterator[Engine]:
    """Start dockerd and a containerd of its own (a system one would share its content) and stop both at the end."""
    if os.geteuid() != 0:
        raise RuntimeError("the bench starts a Docker Engine of its own, so that it may prune: run it as root")
    root, state = directory / "data", directory / "state"
    _end_orphans(directory)
    shutil.rmtree(state, ignore_errors=True)
    for path in (root, state, directory / "docker"):
        path.mkdir(parents=True, exist_ok=True)
    (directory / "containerd.toml").write_text(_CONTAINERD.format(root=root, state=state))
    (directory / "daemon.json").write_text(json.dumps({"features": {"containerd-snapshotter": True}}))
    made = Engine(host=f"unix://{state}/docker.sock", docker_config=directory / "docker")
    # Steps that want a network get the host's: a bridge with rules of its own would disturb the other engine here.
    _run("ip", "link", "add", "name", _BRIDGE, "type", "bridge", check=False)
    _run("ip", "link", "set", _BRIDGE, "up")
    _run("ip", "address", "replace", "192.168.251.1/24", "dev", _BRIDGE)
    containerd = ("containerd", "--config", str(directory / "containerd.toml"))
    dockerd = (
        *("dockerd", "--config-file", str(directory / "daemon.json"), "--containerd", f"{state}/containerd.sock"),
        *("--data-root", f"{root}/docker", "--exec-root", f"{state}/docker", "--pidfile", f"{state}/docker.pid"),
        *("--host", made.host, "--bridge", _BRIDGE, "--iptables=false", "--ip-forward=false", "--ip-masq=false"),
    )
    try:
        with _daemon(containerd, directory / "containerd.log") as first:
            _wait(lambda: _answers(state / "containerd.sock"), first, directory / "containerd.log")
            with _daemon(dockerd, directory / "dockerd.log") as second:
                _wait(lambda: _answers(state / "docker.sock"), second, directory / "dockerd.log")
                made.docker("version")
                yield made
    finally:
        _run("ip", "link", "delete", _BRIDGE, check=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A registry on the loopback interface; plain HTTP, which Docker and BuildKit allow there."""

    address: str
    store: Path

    def bytes_held(self) -> int:
        """Bytes of all blobs (layers, configs and manifests), each once: what was ever pushed."""
        return sum(path.stat().st_size for path in self.store.rglob("blobs/**/data"))


@contextlib.contextmanager
def registry(directory: Path) -> Iterator[Registry]:
    store = directory / "registry"
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(store)}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (directory / "registry.yml").write_text(json.dumps(config))  # JSON is YAML
    log = directory / "registry.log"
    with _daemon(("docker-registry", "serve", str(directory / "registry.yml")), log) as process:
        _wait(lambda: _answers(("127.0.0.1", port)), process, log)
        yield Registry(address=f"127.0.0.1:{port}", store=store)


@contextlib.contextmanager
def _daemon(argv: tuple[str, ...], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    # /usr/sbin is where Debian keeps dockerd; a user's PATH may lack it. A session of its own: Ctrl-C is for us first.
    env = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    with open(log, "wb") as out:
        process = subprocess.Popen(
            argv, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
        )
    log.with_suffix(".pid").write_text(str(process.pid))
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_orphans(directory: Path) -> None:
    """Stop what a bench that was killed has left running on this directory; the caller holds its lock."""
    for name in ("dockerd", "containerd", "registry"):
        path = directory / f"{name}.pid"
        pid = int(path.read_text() or 0) if path.exists() else 0
        try:
            ours = str(directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if ours:
            os.kill(pid, signal.SIGTERM)
            while Path(f"/proc/{pid}").exists():
                time.sleep(0.1)


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
            raise RuntimeError(f"{process.args!r} does not answer:\n{tail}")
        time.sleep(0.1)


def _answers(address: Path | tuple[str, int]) -> bool:
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.connect(str(address) if isinstance(address, Path) else address)
        except OSError:
            return False
        return True


def _run(*argv: str, check: bool = True) -> None:
    env = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    subprocess.run(argv, env=env, check=check, capture_output=True)
