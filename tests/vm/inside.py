"""Runs in the machine: the oci engine on the machine's own files, with crun and runc, as root and as a user.

inside.py             as root; starts the other one
inside.py rootless    as the user, with a delegated part of the cgroups
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, "/app")

from flyte_images_runtime.cgroup import group_names
from flyte_images_runtime.engines.oci import OciEngine
from flyte_images_runtime.engines.oci.program import find
from flyte_images_runtime.errors import TaskError
from flyte_images_runtime.execution.execute import Finished, call_document, execute
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.task.exchange import make_exchange
from flyte_images_runtime.task.spec import Code, Hardening, TaskSpec

MI = 1 << 20
IMAGE = "dir:/" if os.geteuid() == 0 else "dir:/image"  # the machine's own files, or those without mounts below
LEVERS = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/new", "/proc/sys/kernel/hostname"]
USUAL = Limits(cpu=Decimal(1), memory=128 * MI)
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "add": ("add", {}, {"one": 1, "other": 2}),
    "memory": ("hold", {}, {"mebibytes": 40}),
    "out_of_memory": ("hold", {}, {"mebibytes": 300}),
    "processor": ("burn", {"limits": Limits(cpu=Decimal("0.25"), memory=128 * MI)}, {"periods": 20}),
    "processes": ("breed", {"hardening": Hardening(pids=32)}, {"count": 200}),
    "limits": ("own_limits", {}, {}),
    "levers": ("attempt", {"hardening": Hardening(user="0:0")}, {"paths": LEVERS}),
    "identity": ("identity", {}, {}),
    "calls": ("calls", {}, {}),
    "time": ("sleep", {"timeout": 3.0}, {"seconds": 60}),
    "disk": (
        "fill",
        {"limits": Limits(cpu=Decimal(1), memory=128 * MI, disk=32 * MI)},
        {"path": "/tmp/f", "mebibytes": 60},
    ),
}


def call(engine: OciEngine, function: str, options: dict[str, Any], arguments: dict[str, Any]) -> Finished:
    code = Code(module="tasks", qualname=function, roots=("/app/contract",))
    spec = TaskSpec(task=function, image=IMAGE, code=code, **{"network": "none", "limits": USUAL, **options})
    exchange = make_exchange()
    try:
        exchange.write_call(call_document(spec, arguments, secrets={}))
        return execute(engine, spec, exchange)
    finally:
        exchange.remove()


def tell(name: str, **found: Any) -> None:
    print("\nRESULT " + json.dumps({"name": name, **found}, default=str), flush=True)


def give_a_part(user: int) -> Path:
    """Delegate a part of the cgroups, as systemd does for a user's scope with Delegate=yes."""
    part = Path("/sys/fs/cgroup/people/session")
    part.mkdir(parents=True)
    for above in (part.parents[1], part.parent):
        (above / "cgroup.subtree_control").write_text("+cpu +memory +pids")
    for path in (part, *(part / f"cgroup.{name}" for name in ("procs", "subtree_control", "threads"))):
        os.chown(path, user, user)
    return part


def start_as_user() -> None:
    subprocess.run(("useradd", "--create-home", "--uid", "1000", "person"), check=True)
    ranges = ("--add-subuids", "100000-165535", "--add-subgids", "100000-165535")
    subprocess.run(("usermod", *ranges, "person"), check=True)
    part = give_a_part(1000)
    argv = (sys.executable, __file__, "rootless")
    into = f'echo $$ >{part}/cgroup.procs && exec setpriv --reuid 1000 --regid 1000 --clear-groups -- "$@"'
    environ = {**os.environ, "HOME": "/home/person"}
    subprocess.run(("sh", "-c", into, "sh", *argv), env=environ, check=False)
    subprocess.run((sys.executable, __file__, "unprivileged"), user=1000, group=1000, env=environ, check=False)


def main(kind: str = "") -> None:
    if kind == "unprivileged":
        refused(OciEngine(Path("/home/person/store"), program=find(["crun"])))
        return
    suffix, store = (f"-{kind}", "/home/person/store") if kind else ("", "/var/tmp/store")
    for program in ("crun", "runc"):
        engine = OciEngine(Path(store), program=find([program]))
        program += suffix
        for name, (function, options, arguments) in CASES.items():
            try:
                finished = call(engine, function, options, arguments)
            except Exception as error:  # the other cases are reported all the same
                tell(f"{program} {name}", error=type(error).__name__, message=str(error))
                continue
            ended = type(finished.error).__name__ if finished.error else None
            told = {"result": finished.result, "error": ended, "message": str(finished.error)}
            tell(f"{program} {name}", **told, metrics=finished.metrics.as_dict())
        tell(f"{program} left", groups=sorted(group_names("")))
    if not kind:
        start_as_user()


def refused(engine: OciEngine) -> None:
    """Run in a cgroup that the user may not change."""
    try:
        call(engine, "add", {}, {"one": 1, "other": 2})
    except TaskError as error:
        tell("unprivileged add", error=type(error).__name__, message=str(error), hint=error.hint)


main(*sys.argv[1:])
