"""The OCI runtime that makes the containers: crun, which is faster, or runc."""

from __future__ import annotations

import base64
import functools
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...oci.bpf import Unavailable, compile_profile
from ...system.mounts import bind
from ...task.spec import Network

_SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SANDBOXED: dict[Network, str] = {"none": "none", "outbound": "sandbox", "host": "host"}
_WITHOUT_CGROUPS = {"crun": ("--cgroup-manager=disabled",), "runc": ("--rootless=true",)}
_HYBRID = Path("/sys/fs/cgroup/unified/cgroup.controllers")


@dataclass(frozen=True, slots=True)
class Program:
    """The program of a runtime. All runtimes take the same `run`."""

    path: str

    @property
    def name(self) -> str:
        return Path(self.path).name

    def run(
        self, bundle: Path, container: str, log: int, *, network: Network = "none", ordinary_user: bool = False
    ) -> tuple[str, ...]:
        """Return the command that runs the container in the foreground. Errors go to the descriptor `log`."""
        log_file = f"/proc/self/fd/{log}"
        options = ("--log", log_file, "--log-format", "json", "--root", str(bundle / "state"))
        own = _WITHOUT_CGROUPS.get(self.name, ()) if ordinary_user else ()
        if self.name == "runsc":  # gVisor has its own network, or passes on the host's
            own = (*own, f"--network={_SANDBOXED[network]}")
        return (self.path, *options, *own, "run", "--bundle", str(bundle), container)

    def annotate(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration, for crun with a compiled filter: its own compilation takes most of a start."""
        rules = config["linux"].get("seccomp")
        if self.name != "crun" or rules is None:
            return config
        filter_ = _compiled(json.dumps(rules))
        return {**config, "annotations": {"run.oci.seccomp_bpf_data": filter_}} if filter_ else config

    def hidden(self) -> tuple[str, ...]:
        """Return the files to hide from crun: it refuses cgroups v1 and v2 side by side when v2 has a controller.

        Nothing uses that controller, so crun may take the machine for one with v1 alone.
        """
        if self.name == "crun" and _HYBRID.exists() and _HYBRID.read_text(encoding="utf-8").strip():
            return (str(_HYBRID),)
        return ()

    def prepare(self, nothing: Path) -> None:
        """Hide these files, in the container's mount namespace."""
        for hidden in self.hidden():
            nothing.touch()
            bind(nothing, hidden)


@functools.lru_cache(maxsize=16)
def _compiled(rules: str) -> str | None:
    try:
        return base64.b64encode(compile_profile(json.loads(rules))).decode()
    except Unavailable:
        return None


def find(names: Sequence[str] = ("crun", "runc"), path: str | None = None) -> Program | None:
    """Return the first of these runtimes that is installed, or None."""
    searched = os.pathsep.join(part for part in (path, _SEARCHED) if part)
    for name in names:
        if found := shutil.which(name, path=searched):
            return Program(found)
    return None


def known() -> list[str]:
    """Return the names of the installed runtimes, of those that this engine supports."""
    return [name for name in ("crun", "runc", "youki", "runsc") if find([name])]


def complaint(log: str) -> str:
    """Return the last error in a runtime's log.

    >>> complaint('{"level": "warning", "msg": "hm"}' + chr(10) + '{"level": "error", "msg": "no such file"}')
    'no such file'
    """
    last = ""
    for line in log.splitlines():
        try:
            entry = json.loads(line)
            if entry.get("level", "error") in ("error", "fatal"):
                last = str(entry["msg"])
        except (ValueError, LookupError, AttributeError):
            last = line.strip() or last
    return last
