"""Start an ordinary user's container: a process in a new user namespace, with its id map and its network."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pwd
import select
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EngineLost
from .subid import Span, find_span, id_map

_PATIENCE = 20.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CHILD = "flyte_images_runtime.oci.userns_child"
_ROOT = Path(__file__).resolve().parents[2]
_ALLOW = (
    "as root: sysctl user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1 "
    "kernel.apparmor_restrict_unprivileged_userns=0 (those that exist)"
)
DEVICE = "tap0"
SLIRP = "10.0.2.0/24"  # the network of slirp4netns, with its addresses for itself and for the machine's loopback
NAME_SERVER = "10.0.2.3"  # slirp4netns's own name server, which asks those of the machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The work of userns_child.py.

    `hidden`: files to show as empty; `fence`: the fence of its separate network, if it has one.
    """

    place: Path
    layers: tuple[str, ...]
    files: Mapping[str, str]
    config: Mapping[str, Any]
    argv: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    fence: Mapping[str, Any] | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    def to_json(self) -> bytes:
        document = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return json.dumps(document, default=str).encode()


@functools.lru_cache(maxsize=1)
def problem() -> tuple[str, str] | None:
    """Return why this user cannot have containers here, and what to do. None if the user can. Computed once."""
    me = _own_name()
    for tool in ("newuidmap", "newgidmap"):
        if shutil.which(tool, path=_PATH) is None:
            return f"the program `{tool}` is not installed", "as root: apt-get install uidmap"
    for file in ("/etc/subuid", "/etc/subgid"):
        if _span_of(file) is None:
            return (
                f"{file} has no range of ids for the user `{me}`",
                f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {me}",
            )
    done = subprocess.run(
        ("unshare", "--user", "true"), capture_output=True, text=True, env={"PATH": _PATH}, cwd="/", check=False
    )
    if done.returncode:
        return (
            f"the kernel refuses user namespaces to this user: {done.stderr.strip()[-200:]}",
            _ALLOW,
        )
    return None


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _span_of(file: str) -> Span | None:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except OSError:
        return None
    return find_span(text, name=_own_name(), number=os.geteuid())


@dataclass(frozen=True, slots=True)
class Started:
    """The container's runtime, and the program that connects its network, which ends after the runtime."""

    process: subprocess.Popen[bytes]
    cable: subprocess.Popen[bytes] | None

    def end_cable(self) -> None:
        """Wait until the network program ends, which follows the end of the container. Kill it after a time limit."""
        if self.cable is not None:
            try:
                self.cable.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self.cable.kill()
                self.cable.wait()


def launch(plan: Plan, log: int, *, user: tuple[int, int], cgroup: Path | None) -> Started:
    """Start the container. After an OSError or EngineLost nothing of it is left."""
    with contextlib.ExitStack() as stack:
        document = os.memfd_create("flyte-images-plan", os.MFD_CLOEXEC)
        stack.callback(os.close, document)
        os.write(document, plan.to_json())
        ready, says_ready = _pipe(stack)
        go, says_go = _pipe(stack)
        lives, held = _pipe(stack)  # `held` stays open as long as the container
        given = (document, log, says_ready, go)
        code = f"import sys; sys.path[:0] = [{str(_ROOT)!r}]\nfrom {_CHILD} import main; main()"
        process = subprocess.Popen(
            (sys.executable, "-I", "-S", "-c", code, *map(str, given)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(*given, held),
            env=dict(plan.environ),
            cwd="/",
            start_new_session=True,  # a Ctrl-C at the terminal reaches only the caller, who then ends the task
        )
        try:
            _expect(ready, process)
            if cgroup is not None:
                (cgroup / "cgroup.procs").write_text(str(process.pid), encoding="utf-8")
            _map(process.pid, user)
            cable = _connect(process.pid, lives) if plan.fence is not None else None
            os.write(says_go, b".")
        except BaseException:
            process.kill()
            process.communicate()
            raise
    return Started(process, cable)


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    return ends


def _expect(ready: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the namespaces exist. On an error the process writes the reason to its log, and ends."""
    for _ in range(int(_PATIENCE * 50)):
        if select.select((ready,), (), (), 0.02)[0]:
            os.read(ready, 1)
            return
        if process.poll() is not None:
            raise OSError("the process that makes the namespaces ended: see `unshare --user --mount true`")
    raise OSError(f"the namespaces did not exist after {_PATIENCE:g} s")


def _map(pid: int, user: tuple[int, int]) -> None:
    for tool, file, inside, caller in (
        ("newuidmap", "/etc/subuid", user[0], os.geteuid()),
        ("newgidmap", "/etc/subgid", user[1], os.getegid()),
    ):
        span = _span_of(file)
        assert span is not None, file
        done = subprocess.run(
            (tool, str(pid), *id_map(inside, caller, span)),
            capture_output=True,
            text=True,
            env={"PATH": _PATH},
            cwd="/",
            check=False,
        )
        if done.returncode:
            raise OSError(f"{tool}: {done.stderr.strip()[-300:]}")


def _connect(pid: int, lives: int) -> subprocess.Popen[bytes]:
    """Give the process's network a way out, for as long as a process has the other end of `lives`."""
    options = ("--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp")
    with contextlib.ExitStack() as stack:
        errors = os.memfd_create("flyte-images-cable", os.MFD_CLOEXEC)
        stack.callback(os.close, errors)
        ready, says_ready = os.pipe()
        stack.callback(os.close, ready)
        try:
            cable = subprocess.Popen(
                ("slirp4netns", *options, f"--ready-fd={says_ready}", f"--exit-fd={lives}", str(pid), DEVICE),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(says_ready, lives),
                env={"PATH": _PATH},
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(says_ready)
        if not select.select((ready,), (), (), _PATIENCE)[0] or os.read(ready, 1) != b"1":
            cable.kill()
            cable.wait()
            message = os.pread(errors, 4096, 0).decode(errors="replace").strip()
            raise EngineLost(
                f"the container has no way out: slirp4netns: {message[-300:]}", hint='network="none" or "host"'
            )
    return cable
