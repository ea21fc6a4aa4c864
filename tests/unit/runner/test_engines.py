"""Which engine is taken: by its name, or by what the task asks and who asks it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flyte_images.errors import EngineError, SpecError
from flyte_images.runner import engines
from flyte_images_runtime.engines.docker.api import Api
from flyte_images_runtime.errors import EngineLost
from flyte_images_runtime.task.spec import Code, Hardening, TaskSpec

SPEC = TaskSpec(task="t", image="i:1", code=Code(module="m", qualname="f"))


@dataclass(eq=False)
class Fake:
    """An engine that knows its name and what it refuses."""

    name: str
    address: str = "unix:///run/engine.sock"
    refuses: str = ""
    known: tuple[str, ...] = ()
    taken: list[str] = field(default_factory=list)

    @property
    def api(self) -> Api:
        return Api(self.address)

    def runtimes(self) -> list[str]:
        return list(self.known)

    def check(self, spec: TaskSpec) -> None:
        if self.refuses:
            raise EngineLost(self.refuses)

    def take_image(self, reference: str, docker: Api) -> None:
        self.taken.append(f"{reference} from {docker.address}")

    def awake(self) -> Fake:
        return self


class Machine:
    """What is here, as engines.py finds it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.docker: Fake | None = Fake("docker", "unix:///nowhere/docker.sock")
        self.podman = Fake("podman", "unix:///nowhere/podman.sock")
        self.nerdctl = Fake("nerdctl")
        self.oci = Fake("oci")
        self.watched: list[str] = []
        monkeypatch.setattr(engines, "docker_engine", self._docker)
        monkeypatch.setattr(engines, "_podman", lambda: self.podman)
        monkeypatch.setattr(engines, "_nerdctl", lambda: self.nerdctl)
        monkeypatch.setattr(engines, "_oci_beside", lambda store: self.oci)
        monkeypatch.setattr(engines, "watch_over", self.watched.append)
        for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
            monkeypatch.delenv(name, raising=False)
        self.is_here(podman=False)
        self.is_open(docker=True)
        self.user(0)

    def _docker(self) -> Fake:
        if self.docker is None:
            raise EngineError("there is none")
        return self.docker

    def is_here(self, *, podman: bool) -> None:
        self.patch.setattr(engines.shutil, "which", lambda name: f"/usr/bin/{name}" if podman else None)

    def is_open(self, *, docker: bool) -> None:
        self.patch.setattr(engines.os, "access", lambda path, how: docker)

    def user(self, number: int) -> None:
        self.patch.setattr(os, "geteuid", lambda: number)

    def chosen(self, name: Any = "auto", spec: TaskSpec = SPEC) -> str:
        return engines.engine_for(name, spec).name


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_a_name_that_is_none_is_refused_with_those_that_are(machine: Machine) -> None:
    with pytest.raises(SpecError, match="no engine `dokcer`") as refused:
        machine.chosen("dokcer")
    assert all(name in str(refused.value.hint) for name in engines.ENGINES)


def test_root_s_tasks_run_without_a_daemon_if_they_can(machine: Machine) -> None:
    assert machine.chosen() == "oci"
    machine.oci.refuses = "not this"
    assert machine.chosen() == "docker"


def test_an_engine_elsewhere_has_its_directories_elsewhere(machine: Machine) -> None:
    assert machine.docker
    machine.docker.address = "tcp://host:2375"
    assert machine.chosen() == "docker"


def test_a_user_who_may_talk_to_docker_does(machine: Machine) -> None:
    machine.user(1000)
    assert machine.chosen() == "docker"


@pytest.mark.parametrize("closed", [True, False])
def test_a_user_without_docker_has_what_is_in_podman(machine: Machine, closed: bool) -> None:
    machine.user(1000)
    machine.is_here(podman=True)
    if closed:
        machine.is_open(docker=False)
    else:
        machine.docker = None
    assert engines.image_store().name == "podman"
    assert machine.chosen() == "oci"
    machine.oci.refuses = "no limits on version 1"
    assert machine.chosen() == "podman"
    assert machine.podman.taken == []  # it has the image


def test_an_engine_that_was_named_is_used_or_is_an_error(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.is_here(podman=True)
    machine.is_open(docker=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert engines.image_store().name == "docker"


def test_nothing_at_all_is_an_error(machine: Machine) -> None:
    machine.docker = None
    with pytest.raises(EngineError):
        machine.chosen()


@pytest.mark.parametrize("name", ["podman", "nerdctl"])
def test_an_image_that_was_built_into_docker_is_handed_on(machine: Machine, name: str) -> None:
    assert machine.chosen(name) == name
    taken = machine.podman.taken if name == "podman" else machine.nerdctl.taken
    assert taken == ["i:1 from unix:///nowhere/docker.sock"]
    assert machine.watched == ["unix:///nowhere/podman.sock" if name == "podman" else "nerdctl:"]


def test_a_runtime_that_docker_was_told_of_runs_as_it_was_told(machine: Machine) -> None:
    assert machine.docker
    machine.docker.known = ("runc", "runsc")
    for runtime, engine in (("runsc", "docker"), ("youki", "oci")):
        spec = TaskSpec(task="t", image="i:1", code=SPEC.code, hardening=Hardening(runtime=runtime))
        assert machine.chosen(spec=spec) == engine


def test_each_engine_is_looked_at_and_one_that_fails_stops_none(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails() -> str:
        raise EngineLost("it broke", hint="mend it")

    monkeypatch.setattr(engines, "_look_at_docker", fails)
    monkeypatch.setattr(engines, "_look_at_oci", lambda: "crun")
    looks = {one.name: one for one in engines.look_at_engines()}
    assert set(looks) == set(engines.ENGINES) - {"auto"}
    assert (looks["docker"].state, looks["docker"].fix) == ("failed", "mend it")
    assert looks["podman"].state == looks["nerdctl"].state == "absent"
    assert (looks["oci"].state, looks["oci"].what) == ("ok", "crun")
