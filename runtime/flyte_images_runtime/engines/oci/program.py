"""The OCI runtime that makes the containers: crun, which is quicker, or runc."""

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
    """A runtime's program. `run` is the same of all."""

    path: str

    @property
    def name(self) -> str:
        return Path(self.path).name

    def run(
        self, bundle: Path, container: str, log: int, *, network: Network = "none", ordinary_user: bool = False
    ) -> tuple[str, ...]:
        """The command that runs the container in the foreground; what is wrong goes to the descriptor `log`."""
        log_file = f"/proc/self/fd/{log}"
        options = ("--log", log_file, "--log-format", "json", "--root", str(bundle / "state"))
        own = _WITHOUT_CGROUPS.get(self.name, ()) if ordinary_user else ()
        if self.name == "runsc":  # it is a kernel: it has a network of its own, or passes on the machine's
            own = (*own, f"--network={_SANDBOXED[network]}")
        return (self.path, *options, *own, "run", "--bundle", str(bundle), container)

    def annotate(self, config: dict[str, Any]) -> dict[str, Any]:
        """Give crun the filter as the kernel takes it: to make it of the list is the longest part of a start."""
        rules = config["linux"].get("seccomp")
        if self.name != "crun" or rules is None:
            return config
        filter_ = _compiled(json.dumps(rules))
        return {**config, "annotations": {"run.oci.seccomp_bpf_data": filter_}} if filter_ else config

    def hidden(self) -> tuple[str, ...]:
        """What crun may not see: that version 2 of cgroups has a controller that nobody uses.

        Version 1 and 2 side by side, with one controller left to 2, is what it refuses to work with.
        """
        if self.name == "crun" and _HYBRID.exists() and _HYBRID.read_text(encoding="utf-8").strip():
            return (str(_HYBRID),)
        return ()

    def prepare(self, nothing: Path) -> None:
        """Hide it, in the container's own mount namespace."""
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
    """The first of them that is on this machine."""
    searched = os.pathsep.join(part for part in (path, _SEARCHED) if part)
    for name in names:
        if found := shutil.which(name, path=searched):
            return Program(found)
    return None


def known() -> list[str]:
    """The runtimes that are on this machine, of those that work alike."""
    return [name for name in ("crun", "runc", "youki", "runsc") if find([name])]


def complaint(log: str) -> str:
    """The last thing that a runtime's log calls an error.

    >>> complaint('{"level": "warning", "msg": "hm"}' + chr(10) + '{"level": "error", "msg": "no such file"}')
    'no such file'
    """
    last = ""
    for line in log.splitlines():
        try:
            said = json.loads(line)
            if said.get("level", "error") in ("error", "fatal"):
                last = str(said["msg"])
        except (ValueError, LookupError, AttributeError):
            last = line.strip() or last
    return last
