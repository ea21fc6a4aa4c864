"""Limits, usage and ends on cgroup v2, with crun and runc, of root and of an ordinary user."""

from __future__ import annotations

from typing import Any

import pytest

from .machine import boot

pytestmark = pytest.mark.vm
MI = 1 << 20


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return boot(tmp_path_factory.mktemp("machine"), seconds=1200)


@pytest.fixture(params=["crun", "runc", "crun-rootless", "runc-rootless"])
def found(request: pytest.FixtureRequest, results: dict[str, Any]) -> dict[str, Any]:
    """The results of one runtime, by case."""
    split = ((name.partition(" "), told) for name, told in results.items())
    return {case: told for (runtime, _, case), told in split if runtime == request.param}


def test_a_result_and_its_account(found: dict[str, Any]) -> None:
    assert found["add"]["result"] == 3
    metrics = found["add"]["metrics"]
    assert metrics["cpu"] > 0
    assert MI < metrics["peak_memory"] < 128 * MI
    assert metrics["peak_pids"] >= 2


def test_memory_is_held_to_the_limit(found: dict[str, Any]) -> None:
    assert found["memory"]["result"] == 40
    assert found["memory"]["metrics"]["peak_memory"] > 40 * MI
    assert found["out_of_memory"]["error"] == "OutOfMemory"
    assert found["out_of_memory"]["metrics"]["peak_memory"] == 128 * MI


def test_the_processor_is_held_to_the_limit(found: dict[str, Any]) -> None:
    assert found["processor"]["error"] is None
    assert found["processor"]["metrics"]["throttled_periods"] > 10
    assert found["processor"]["metrics"]["throttled"] > 0


def test_processes_are_held_to_the_limit(found: dict[str, Any]) -> None:
    assert found["processes"]["result"] < 32
    assert found["processes"]["metrics"]["peak_pids"] <= 48  # with the runtime's own processes at the start


def test_the_limits_can_be_read_inside_and_not_be_changed(found: dict[str, Any]) -> None:
    assert found["limits"]["result"] == {"memory": str(128 * MI), "cpu": "100000 100000"}
    assert set(found["levers"]["result"]) == {"EROFS"}


def test_a_task_runs_without_an_account_and_rights(found: dict[str, Any]) -> None:
    identity = found["identity"]["result"]
    assert (identity["uid"], identity["NoNewPrivs"], identity["Seccomp"]) == (1000, "1", "2")
    assert {identity[name] for name in ("CapEff", "CapBnd", "CapPrm")} == {"0000000000000000"}
    assert {line.split()[1] for line in found["calls"]["result"]} <= {"EPERM", "EACCES"}


def test_the_other_ends_have_their_names(found: dict[str, Any], request: pytest.FixtureRequest) -> None:
    assert found["time"]["error"] == "TimedOut"
    of_a_user = "rootless" in request.node.name
    assert found["disk"]["error"] == ("EngineLost" if of_a_user else "DiskFull")  # refused: a user cannot mount a disk


def test_nothing_is_left(found: dict[str, Any]) -> None:
    assert found["left"]["groups"] == []


def test_without_a_part_of_the_cgroups_a_limit_is_refused(results: dict[str, Any]) -> None:
    told = results["unprivileged add"]
    assert told["error"] == "EngineLost"
    assert "cannot be kept for an ordinary user" in told["message"]
    assert "systemd-run --user --scope -p Delegate=yes" in told["hint"]
