"""An ordinary user that exists during a test, and a process of this user that runs the calls that it receives."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import typing_extensions

import flyte_images_runtime
from flyte_images_runtime.execution.execute import Finished

from .contract_calls import CONTRACT, Request

_IDS = "2000000-2065535"
_TUN = Path("/dev/net/tun")


@dataclass(frozen=True)
class User:
    """The user, and a home directory that every user can read."""

    name: str
    uid: int
    gid: int
    home: Path

    @property
    def library(self) -> str:
        return str(self.home / "flyte_images_runtime")

    def environ(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "USER": self.name,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "XDG_RUNTIME_DIR": str(self.home / "run"),
        }

    def is_clear(self) -> None:
        """Assert that tasks of the user have left no directory; a task that has just ended may still remove its own."""
        deadline = time.monotonic() + 20
        while (left := self._directories()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left == []

    def _directories(self) -> list[Path]:
        return [path for place in ("/dev/shm", "/var/tmp") for path in Path(place).glob(f"flyte-images-*-{self.uid}")]

    def processes(self) -> list[int]:
        """Return the processes of the user and of the user's subordinate numbers."""
        lines = (line.split(":") for line in Path("/etc/subuid").read_text().splitlines())
        spans = [range(int(start), int(start) + int(count)) for who, start, count in lines if who == self.name]
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                owner = path.stat().st_uid
                if owner == self.uid or any(owner in span for span in spans):
                    found.append(int(path.name))
        return found


# The packages that the product imports, for an account that can read no other directory than its home.
LIBRARIES = (
    *("packaging", "python_on_whales", "pydantic", "pydantic_core", "annotated_types", "typing_inspection"),
    "yaml",
)


def python_of_users() -> str:
    """Return an interpreter that users can run, of this version: pydantic_core is compiled for one."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return next(path for path in (f"/usr/bin/python{version}", sys.executable) if os.access(path, os.X_OK))


def copy_packages(home: Path, *packages: ModuleType) -> None:
    """Copy packages to a directory that is on the user's search path."""
    for package in packages:
        directory = Path(str(package.__file__)).parent
        shutil.copytree(directory, home / directory.name, ignore=shutil.ignore_patterns("__pycache__"))


@contextlib.contextmanager
def made_up() -> Iterator[User]:
    """Add the user, with subordinate numbers; at the end remove the user, the numbers, files and processes."""
    home = Path(tempfile.mkdtemp(prefix="fi-", dir="/var/tmp"))
    name = f"flyte-images-test-{secrets.token_hex(3)}"
    subprocess.run(("useradd", "--home-dir", home, "--shell", "/bin/sh", name), check=True)
    mode = _TUN.stat().st_mode
    entry = pwd.getpwnam(name)
    user = User(name, entry.pw_uid, entry.pw_gid, home)
    try:
        subprocess.run(("usermod", "--add-subuids", _IDS, "--add-subgids", _IDS, name), check=True)
        copy_packages(home, flyte_images_runtime, *map(importlib.import_module, LIBRARIES))
        shutil.copy(str(typing_extensions.__file__), home)
        shutil.copytree(CONTRACT, home / "contract")
        for file in ("contract_calls.py", "user_engines.py"):
            shutil.copy(Path(__file__).with_name(file), home)
        (home / "run").mkdir(mode=0o700)
        for path in (home, *home.rglob("*")):
            os.chown(path, user.uid, user.gid)
        home.chmod(0o755)
        _TUN.chmod(0o666)  # as udev makes it
        yield user
    finally:
        _TUN.chmod(mode & 0o777)
        _end(user)
        subprocess.run(("userdel", "--force", name), check=True, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


def _end(user: User) -> None:
    """End the processes that are left: Podman's own."""
    deadline = time.monotonic() + 20
    while (left := user.processes()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


class UsersEngine:
    """An engine in a process of the user. Many threads can call it."""

    limits = False

    def __init__(self, name: str, user: User, *, docker: str, image: str) -> None:
        self.name = name
        self.user = (user.uid, user.gid)
        self._address = str(user.home / f"{name}.sock")
        python = python_of_users()
        self._process = subprocess.Popen(
            (python, user.home / "user_engines.py", name, self._address, docker, image),
            env=user.environ(),
            user=user.uid,
            group=user.gid,
            extra_groups=[Path(docker.removeprefix("unix://")).stat().st_gid],
            cwd="/",
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while not Path(self._address).exists():
            assert self._process.poll() is None and time.monotonic() < deadline, f"{name} did not start"
            time.sleep(0.02)

    def run(self, request: Request) -> Finished:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(self._address)
            with link.makefile("rwb") as file:
                parts = (request.function, request.arguments, request.options, request.cancel_after)
                pickle.dump(parts, file)
                file.flush()
                result, metrics, log, error, raised, lines = pickle.load(file)
        request.lines.extend(lines)
        if raised is not None:
            raise _made(raised)
        return Finished(result=result, error=error and _made(error), metrics=metrics, log=log)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def _made(parts: Any) -> Any:
    kind, args, details = parts
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(details)
    return error
