"""A hostile package index can neither write a file of its choice, nor run code, nor use up memory or time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.adversarial import hostile_index
from tests.adversarial.hostile_index import Case

ROOT = Path(__file__).parents[2]
MEBIBYTES = 300  # of the client; the interpreter with what it imports takes 60


def attacked(tmp_path: Path, numbers: range) -> dict[str, Any]:
    """Return the report of a client that handled these cases."""
    place, outside = tmp_path / "client", tmp_path / "outside" / "authorized_keys"
    (place / "home").mkdir(parents=True)
    outside.parent.mkdir()
    outside.write_text("mine")
    logins: list[str] = []
    with hostile_index.serve(hostile_index.of_path, logins) as address:
        several = [{"number": it.number, "package": it.package(address, str(outside))} for it in map(Case.of, numbers)]
        cases = tmp_path / "cases.json"
        cases.write_text(json.dumps({"address": address, "cases": several}))
        argv = (sys.executable, "-m", "tests.adversarial.hostile_client", str(cases), str(place))
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    assert outside.read_text() == "mine" and [path.name for path in outside.parent.iterdir()] == [outside.name]
    return dict(json.loads(done.stdout))


def check(report: dict[str, Any], count: int) -> None:
    assert set(report["ends"]) == {"right", "ResolveError"} and sum(report["ends"].values()) == count
    assert (report["outside"], report["run"], report["left"]) == ([], [], [])
    assert report["peak"] < MEBIBYTES


def test_a_hundred_hostile_answers(tmp_path: Path) -> None:
    """D1, D18: no file is written outside, no program runs, memory is bounded, and each case is right or an error."""
    check(attacked(tmp_path, range(100)), 100)


@pytest.mark.adversarial
def test_a_thousand_hostile_answers(tmp_path: Path) -> None:
    """D1, D18: as above."""
    check(attacked(tmp_path, range(1000, 2000)), 1000)
