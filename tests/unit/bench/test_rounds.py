"""A contender that fails costs its own samples, not the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.contenders import Command, Failed
from tests.bench.report import missing_samples, table
from tests.bench.rounds import Results


def test_a_failed_sample_is_said_and_the_others_stay(tmp_path: Path) -> None:
    kept = tmp_path / "samples.jsonl"
    results = Results(kept=kept)
    results.add("cold", "ours", 1.5)
    with results.going_on("theirs", "round 1 of builds"):
        Command(argv=("false",), cwd=tmp_path, env={}).run()
    results.add("cold", "ours", 2.5)
    assert "2.00 s" in table(results.samples, ("ours", "theirs"))
    assert missing_samples(results.missing).endswith("theirs, round 1 of builds (false exited with 1).")
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [line.get("value") for line in lines] == [1.5, None, 2.5]


def test_a_fault_of_the_bench_itself_ends_it() -> None:
    with pytest.raises(KeyError), Results().going_on("theirs", "x"):
        raise KeyError("x")
    assert issubclass(Failed, RuntimeError)
