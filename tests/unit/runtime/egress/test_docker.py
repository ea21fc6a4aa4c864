"""Docker's containers: connected from here and fenced off, or at least apart from other containers."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from flyte_images.cli import doctor_checks
from flyte_images.runner import engine_report
from flyte_images_runtime.engines.docker import engine as docker
from flyte_images_runtime.oci.network import NETWORK
from flyte_images_runtime.task.spec import Code, Hardening, TaskSpec

SPEC = TaskSpec(task="t", image="i", code=Code(module="m", qualname="f"), network="outbound")
HERE = {"Name": os.uname().nodename, "KernelVersion": os.uname().release, "SecurityOptions": []}


def way_out(
    monkeypatch: pytest.MonkeyPatch, spec: TaskSpec, facts: dict[str, Any], *, user: int = 0
) -> tuple[Any, Any]:
    """Return the network mode in the request, and the network that Docker must make."""
    made: list[str] = []
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(docker, "bridge_for", lambda *_: "bridge")
    monkeypatch.setattr(docker, "make_network", lambda *_: made.append(NETWORK))
    engine = docker.DockerEngine("unix:///nowhere.sock")
    engine.__dict__["facts"] = facts
    body: dict[str, Any] = {"Hostname": "task", "Cmd": [], "HostConfig": {"NetworkMode": "bridge"}}
    found = engine.way_out(spec, body)
    assert ("--await-network" in body["Cmd"]) == (found is not None)
    return found, (*made, body["HostConfig"]["NetworkMode"])


def test_a_container_of_root_starts_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Network: nothing in the container runs before the fence exists."""
    assert way_out(monkeypatch, SPEC, HERE) == ("bridge", ("none",))


def test_a_container_without_a_fence_is_apart_from_other_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = {**HERE, "Name": "another-machine"}
    rootless = {**HERE, "SecurityOptions": ["name=rootless"]}
    for facts, user in ((HERE, 1000), (elsewhere, 0), (rootless, 0)):
        assert way_out(monkeypatch, SPEC, facts, user=user) == (None, (NETWORK, NETWORK))


def test_other_networks_and_other_kernels_are_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in (replace(SPEC, network="none"), replace(SPEC, hardening=Hardening(runtime="runsc"))):
        assert way_out(monkeypatch, spec, HERE) == (None, ("bridge",))


def test_doctor_names_the_engines_without_a_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [engine_report.EngineReport(name=name, state="ok", what="") for name in ("docker", "nerdctl", "oci")]
    monkeypatch.setattr(engine_report, "report_engines", lambda environ: iter(looks))
    reasons = {"docker": "only root can", "nerdctl": None, "oci": None}
    monkeypatch.setattr(engine_report, "why_unfenced", lambda environ, name: reasons[name])
    fenced, open_ = doctor_checks.reach()
    assert (fenced.state, open_.state) == ("ok", "warning")
    assert fenced.what.endswith("nor this machine: nerdctl, oci")
    assert "on docker reaches this machine" in open_.what and open_.fix is not None and "nerdctl or oci" in open_.fix
