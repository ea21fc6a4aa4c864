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
from ...oci.mounts import bind

_SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HYBRID = Path("/sys/fs/cgroup/unified/cgroup.controllers")


@dataclass(frozen=True, slots=True)
class Program:
    """A runtime's program. `run` is the same of all."""

    path: str

    @property
    def name(self) -> str:
        return Path(self.path).name

    def run(self, bundle: Path, container: str, log: int) -> tuple[str, ...]:
        """The command that runs the container in the foreground; what is wrong goes to the descriptor `log`."""
        log_file = f"/proc/self/fd/{log}"
        options = ("--log", log_file, "--log-format", "json", "--root", str(bundle / "state"))
        return (self.path, *options, "run", "--bundle", str(bundle), container)

    def annotate(self, config: dict[str, Any]) -> dict[str, Any]:
        """Give crun the filter as the kernel takes it: to make it of the list is the longest part of a start."""
        rules = config["linux"].get("seccomp")
        if self.name != "crun" or rules is None:
            return config
        filter_ = _compiled(json.dumps(rules))
        return {**config, "annotations": {"run.oci.seccomp_bpf_data": filter_}} if filter_ else config

    def prepare(self, nothing: Path) -> None:
        """In the container's own mount namespace: hide from crun that version 2 has a controller nobody uses.

        Version 1 and 2 side by side, with one controller left to 2, is what crun refuses to work with.
        """
        if self.name == "crun" and _HYBRID.exists() and _HYBRID.read_text(encoding="utf-8").strip():
            nothing.touch()
            bind(nothing, _HYBRID)


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
