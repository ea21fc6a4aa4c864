"""The examples do what they say, as programs and from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.network]

ROOT = Path(__file__).parents[2]


def run(*argv: str) -> str:
    done = subprocess.run((sys.executable, *argv), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def command(*args: str) -> str:
    return run("-c", "import sys; from flyte_images.cli.main import main; sys.exit(main())", *args)


def test_hello_is_said_here_and_in_a_container() -> None:
    here, there = run("examples/hello.py").splitlines()
    assert here.startswith("hello Ada, from ") and there.startswith("hello Ada, from ")
    assert here != there
    said = command("run", "examples/hello.py", "greet", "--name", "Grace", "--times=2").splitlines()
    assert len(said) == 2 and said[0].startswith("hello Grace, from ")


def test_words_are_counted_in_several_containers_at_once() -> None:
    lines = dict(line.split(": ", 1) for line in run("examples/words.py").splitlines())
    assert set(lines) >= {"flyte_images", "layers", "runtime", "tests"}
    found = json.loads(command("run", "examples/words.py", "count", "--text", "layers/README.md", "--most", "1"))
    assert len(found) == 1


def test_the_demo_trains_exceeds_and_builds_again() -> None:
    out = run("examples/demo.py")
    accuracy = float(out.partition("accuracy=")[2].partition(",")[0])
    assert 0.9 < accuracy <= 1.0
    assert "OutOfMemory: task `small_env.hog`" in out and "256Mi" in out
    references = [line for line in out.splitlines() if line.startswith("docker.io/library/")]
    assert len(references) == 2 and len(set(references)) == 1
