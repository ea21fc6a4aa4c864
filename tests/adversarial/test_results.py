"""A result of a container costs the caller no more than its budget: no raw error, no flood, no file outside."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from flyte_images_runtime.values import Problem

from . import fuzz_results

PROGRAM = Path(fuzz_results.__file__)
TWICE = 2 * fuzz_results.MEMORY


def fuzzed(seed: int, cases: int, directory: Path) -> dict[str, Any]:
    directory.mkdir()
    done = subprocess.run(
        (sys.executable, str(PROGRAM), str(seed), str(cases), str(directory)), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def expect_harmless(found: dict[str, Any], cases: int) -> None:
    """Assert that each case is a value or a Problem, within memory and CPU time, and that no file is outside."""
    assert found["escaped"] == []
    assert sum(found["ends"].values()) >= cases
    assert min(found["ends"][end] for end in ("value", "directory", "problem")) > cases // 100
    assert found["memory"] <= TWICE
    assert found["slowest"] < 10


def test_two_thousand_hostile_results(tmp_path: Path) -> None:
    """D10, D26, D7: values and archives by a grammar, with one flood of JSON in each thousand."""
    expect_harmless(fuzzed(1, 2_000, tmp_path / "f"), 2_000)


@pytest.mark.adversarial
def test_a_hundred_thousand_hostile_results(tmp_path: Path) -> None:
    """D10, D26, D7: the full trial, on two processors."""
    found: dict[int, dict[str, Any]] = {}

    def run(seed: int) -> None:
        found[seed] = fuzzed(seed, 50_000, tmp_path / str(seed))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (2, 3):
        expect_harmless(found[seed], 50_000)


def test_the_fuzzer_sees_files_outside(tmp_path: Path) -> None:
    """The trial itself: a link that leads out and a file beside the directory are seen."""
    fuzzer = fuzz_results.Fuzzer(1, tmp_path)
    (fuzzer.arrivals / "x" / "made").mkdir(parents=True)
    (fuzzer.arrivals / "x" / "made" / "l").symlink_to("../../../around/canary")
    fuzzer.look_inside()
    (tmp_path / "beside").touch()
    fuzzer.clear()
    assert len(fuzzer.escaped) == 2
    with pytest.raises(Problem):
        fuzzer.samples[0][0].decode_result({"$type": "no"}, fuzzer.open_files(None))
