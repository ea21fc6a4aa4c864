"""Runs in the machine: the oci engine over the machine's own files, with crun and with runc."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, "/app")

from flyte_images_runtime.cgroup import group_names
from flyte_images_runtime.engines.oci import OciEngine
from flyte_images_runtime.engines.oci.program import find
from flyte_images_runtime.exchange import make_exchange
from flyte_images_runtime.execute import Finished, call_document, execute
from flyte_images_runtime.limits import Limits
from flyte_images_runtime.spec import Code, Hardening, TaskSpec

MI = 1 << 20
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
    spec = TaskSpec(task=function, image="dir:/", code=code, **{"network": "none", "limits": USUAL, **options})
    exchange = make_exchange()
    try:
        exchange.write_call(call_document(spec, arguments, secrets={}))
        return execute(engine, spec, exchange)
    finally:
        exchange.remove()


def tell(name: str, **found: Any) -> None:
    print("\nRESULT " + json.dumps({"name": name, **found}, default=str), flush=True)


def main() -> None:
    for program in ("crun", "runc"):
        engine = OciEngine(Path("/var/tmp/store"), program=find([program]))
        for name, (function, options, arguments) in CASES.items():
            try:
                finished = call(engine, function, options, arguments)
            except Exception as error:  # the other cases are told all the same
                tell(f"{program} {name}", error=type(error).__name__, message=str(error))
                continue
            ended = type(finished.error).__name__ if finished.error else None
            told = {"result": finished.result, "error": ended, "message": str(finished.error)}
            tell(f"{program} {name}", **told, metrics=finished.metrics.as_dict())
        tell(f"{program} left", groups=sorted(group_names("")))


main()
