"""The program `nerdctl`: one call of it, and what it says when it fails."""

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
"""What stands for a containerd's address where one is expected: nerdctl finds it by its own settings."""
_PATIENCE = 120.0  # seconds without an answer
_SAID = re.compile(r'msg=("(?:[^"\\]|\\.)*"|\S+)')


class Refused(Exception):
    """nerdctl did not do it."""


@dataclass(frozen=True, slots=True)
class Nerdctl:
    """`options` are its own (`--address`, `--namespace`, ...); `environ` is what it is run with."""

    options: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def socket(self) -> str:
        """Where containerd listens."""
        if "--address" in self.options:
            return self.options[self.options.index("--address") + 1]
        return self.environ.get("CONTAINERD_ADDRESS") or "/run/containerd/containerd.sock"

    def argv(self, *arguments: str) -> tuple[str, ...]:
        """The command; EngineLost if there is no such program."""
        program = shutil.which("nerdctl", path=self.environ.get("PATH"))
        if program is None:
            raise EngineLost("there is no program `nerdctl` here", hint="install it, or use another engine")
        return (program, *self.options, *arguments)

    def call(self, *arguments: str, given: IO[bytes] | None = None) -> str:
        """Return what it prints; Refused says why it failed."""
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
            raise Refused(said(done.stderr.splitlines()) or f"nerdctl {arguments[0]} ended with {done.returncode}")
        return done.stdout

    def inspect(self, kind: str, name: str) -> dict[str, Any] | None:
        """What it knows of a container or an image; None if there is none of that name."""
        try:
            text = self.call(kind, "inspect", name)
        except Refused as refused:
            if "no such" in str(refused).lower() or "not found" in str(refused).lower():
                return None
            raise lost(refused) from None
        found = json.loads(text)
        return dict(found[0]) if found else None

    def containers(self, label: str) -> dict[str, str]:
        """The containers that have the label, and its value, by their ids."""
        # one by one: it has no option that prints labels so that they can be told apart
        ids = self.call("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}").split()
        described = {one: self.inspect("container", one) for one in ids}
        return {one: str(found["Config"]["Labels"].get(label)) for one, found in described.items() if found}


def said(lines: Sequence[str]) -> str:
    """The last thing that it calls fatal, else an error, without its own decoration.

    >>> said(['time="2026-01-01T00:00:00Z" level=fatal msg="no such image: \\\\"x\\\\""'])
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
    """containerd does not answer, or not as it should."""
    text = str(refused)
    if "cannot access containerd socket" in text or "connection refused" in text:
        return EngineLost(
            f"no containerd answers to nerdctl: {text}",
            hint="start containerd, or say where it is: CONTAINERD_ADDRESS=/run/containerd/containerd.sock",
        )
    return EngineLost(f"nerdctl failed: {text}")
