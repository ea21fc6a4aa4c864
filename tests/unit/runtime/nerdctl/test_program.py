"""The program nerdctl: where it is found, and its own messages."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from flyte_images_runtime.engines.nerdctl import Nerdctl, NerdctlEngine
from flyte_images_runtime.engines.nerdctl.engine import _why_not
from flyte_images_runtime.engines.nerdctl.program import Refused, last_message, lost
from flyte_images_runtime.errors import EngineLost, ImageCannotStart
from flyte_images_runtime.task.spec import Code, Hardening, TaskSpec

SPEC = TaskSpec(
    task="t", image="i:1", code=Code(module="m", qualname="f"), python="python4", hardening=Hardening(runtime="kata")
)


def _nerdctl(place: Path, script: str) -> Nerdctl:
    program = place / "nerdctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Nerdctl(("--namespace", "n"), {"PATH": f"{place}:/usr/bin:/bin"})


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineLost, match="program `nerdctl` is not installed") as missed:
        Nerdctl((), {"PATH": str(tmp_path)}).call("info")
    assert missed.value.hint


def test_nerdctl_options_come_first(tmp_path: Path) -> None:
    assert _nerdctl(tmp_path, 'echo "$@"').call("ps", "-q") == "--namespace n ps -q\n"


def test_a_silent_containerd_is_a_lost_engine(tmp_path: Path) -> None:
    line = 'time="2026-01-01T00:00:00Z" level=fatal msg="cannot access containerd socket \\\\"/run/c.sock\\\\""'
    engine = NerdctlEngine(_nerdctl(tmp_path, f"printf '%s\\n' '{line}' >&2; exit 1"))
    with pytest.raises(EngineLost, match="no containerd answers") as missed:
        _ = engine.facts
    assert "CONTAINERD_ADDRESS" in str(missed.value.hint)
    assert "nerdctl failed" in str(lost(Refused("something else")))


def test_the_last_fatal_message_counts() -> None:
    lines = ["from the task", 'time="t" level=warning msg="hm"', 'time="t" level=fatal msg="it \\"broke\\""', "FATA"]
    assert last_message(lines) == 'it "broke"'
    assert last_message(["only the task's own"]) == ""


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        ('image "docker.io/library/i:1" not available', ImageCannotStart, "has no image i:1"),
        ('exec: "python4": executable file not found in $PATH: unknown', ImageCannotStart, "has no `python4`"),
        ("exec /usr/bin/python4: exec format error", ImageCannotStart, "another kind of processor"),
        ('runtime "io.containerd.kata.v2" binary not installed "containerd-shim-kata-v2"', EngineLost, "`kata`"),
        ("no space left on device", ImageCannotStart, "no space left"),
    ],
)
def test_refusals_have_error_classes(words: str, kind: type[Exception], told: str) -> None:
    error = _why_not(words, SPEC)
    assert isinstance(error, kind)
    assert told in str(error)
