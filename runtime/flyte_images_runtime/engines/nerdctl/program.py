"""The program `nerdctl`: one call, and the message of a failed call.

Not through python-on-whales, which has no time limit and cannot run a client with other variables; no machine of
this project has nerdctl to try the library with it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from ...errors import EngineLost

ADDRESS = "nerdctl:"
"""The address of containerd for code that expects one: nerdctl finds containerd by its own settings."""
_PATIENCE = 120.0  # seconds without an answer
_SAID = re.compile(r'msg=("(?:[^"\\]|\\.)*"|\S+)')


class Refused(Exception):
    """nerdctl failed, with its message."""


@dataclass(frozen=True, slots=True)
class Nerdctl:
    """`options` are nerdctl's own (`--address`, `--namespace`, ...); `environ` are its variables."""

    options: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def socket(self) -> str:
        """The path of containerd's socket."""
        if "--address" in self.options:
            return self.options[self.options.index("--address") + 1]
        return self.environ.get("CONTAINERD_ADDRESS") or "/run/containerd/containerd.sock"

    def argv(self, *arguments: str) -> tuple[str, ...]:
        """Return the command. Raise EngineLost if nerdctl is not installed."""
        program = shutil.which("nerdctl", path=self.environ.get("PATH"))
        if program is None:
            raise EngineLost("the program `nerdctl` is not installed", hint="install it, or use another engine")
        return (program, *self.options, *arguments)

    def call(self, *arguments: str, given: IO[bytes] | None = None) -> str:
        """Return the output. Raise Refused with nerdctl's message if it fails."""
        try:
            done = subprocess.run(
                self.argv(*arguments),
                stdin=subprocess.DEVNULL if given is None else given,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PATIENCE,
                env=dict(self.environ),
                cwd="/",
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EngineLost(f"nerdctl {arguments[0]} did not end in {_PATIENCE:g} s") from None
        if done.returncode:
            raise Refused(
                last_message(done.stderr.splitlines()) or f"nerdctl {arguments[0]} ended with {done.returncode}"
            )
        return done.stdout

    def inspect(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return nerdctl's description of a container or an image. None for an unknown name."""
        try:
            text = self.call(kind, "inspect", name)
        except Refused as refused:
            if "no such" in str(refused).lower() or "not found" in str(refused).lower():
                return None
            raise lost(refused) from None
        found = json.loads(text)
        return dict(found[0]) if found else None

    def containers(self, label: str) -> dict[str, str]:
        """Return the value of a label by container id, for all containers with the label."""
        # one by one: no option prints labels in a form that can be parsed
        ids = self.call("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}").split()
        described = {one: self.inspect("container", one) for one in ids}
        return {one: str(found["Config"]["Labels"].get(label)) for one, found in described.items() if found}


def last_message(lines: Sequence[str]) -> str:
    """Return the last fatal message in nerdctl's output, else the last error, without its decoration.

    >>> last_message(['time="2026-01-01T00:00:00Z" level=fatal msg="no such image: \\\\"x\\\\""'])
    'no such image: "x"'
    """
    for level in ("fatal", "error"):
        for line in reversed(lines):
            if f"level={level}" in line and (found := _SAID.search(line)):
                text = found[1]
                return str(json.loads(text)) if text.startswith('"') else text
            if line.startswith(f"{level.upper()}["):
                return line.partition("]")[2].strip()
    return ""


def lost(refused: Refused) -> EngineLost:
    """Return the error for a containerd that does not answer, or fails."""
    text = str(refused)
    if "cannot access containerd socket" in text or "connection refused" in text:
        return EngineLost(
            f"no containerd answers to nerdctl: {text}",
            hint="start containerd, or set its address: CONTAINERD_ADDRESS=/run/containerd/containerd.sock",
        )
    return EngineLost(f"nerdctl failed: {text}")
