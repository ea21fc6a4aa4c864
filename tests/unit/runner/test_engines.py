"""The engine is chosen by its name, or by what the task asks for and the user who runs it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import pytest

from flyte_images.errors import EngineError, SpecError
from flyte_images.runner import engine_report, engines
from flyte_images.runner.engines import Engines
from flyte_images_runtime.engines.docker.api import Api
from flyte_images_runtime.errors import EngineLost
from flyte_images_runtime.task.spec import Code, Hardening, TaskSpec

SPEC = TaskSpec(task="t", image="i:1", code=Code(module="m", qualname="f"))


@dataclass(eq=False)
class Fake:
    """An engine with a name; with `refuses`, it supports no task."""

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
    """The engines of a machine, as `Engines` finds them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.environ: dict[str, str] = {}
        self.docker: Fake | None = Fake("docker", "unix:///nowhere/docker.sock")
        self.podman = Fake("podman", "unix:///nowhere/podman.sock")
        self.nerdctl = Fake("nerdctl")
        self.oci = Fake("oci")
        self.watched: list[str] = []
        monkeypatch.setattr(Engines, "docker", lambda _: self._docker())
        monkeypatch.setattr(Engines, "podman", lambda _: self.podman)
        monkeypatch.setattr(Engines, "nerdctl", lambda _: self.nerdctl)
        monkeypatch.setattr(Engines, "_oci_beside", lambda _, store: self.oci)
        monkeypatch.setattr(engines, "watch_over", lambda address, environ: self.watched.append(address))
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
        return self.engines().select(name, spec).name

    def engines(self) -> Engines:
        return Engines.of(self.environ)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_an_unknown_name_is_refused_and_the_hint_has_all_names(machine: Machine) -> None:
    with pytest.raises(SpecError, match="no engine `dokcer`") as refused:
        machine.chosen("dokcer")
    assert all(name in str(refused.value.hint) for name in engines.ENGINES)


def test_tasks_of_root_run_without_a_daemon_where_oci_supports_them(machine: Machine) -> None:
    assert machine.chosen() == "oci"
    machine.oci.refuses = "not this"
    assert machine.chosen() == "docker"


def test_the_images_of_a_remote_engine_are_not_here_for_oci(machine: Machine) -> None:
    assert machine.docker
    machine.docker.address = "tcp://host:2375"
    assert machine.chosen() == "docker"


def test_a_user_with_access_to_docker_uses_docker(machine: Machine) -> None:
    machine.user(1000)
    assert machine.chosen() == "docker"


@pytest.mark.parametrize("closed", [True, False])
def test_a_user_without_docker_uses_the_images_of_podman(machine: Machine, closed: bool) -> None:
    machine.user(1000)
    machine.is_here(podman=True)
    if closed:
        machine.is_open(docker=False)
    else:
        machine.docker = None
    assert machine.engines().image_store().name == "podman"
    assert machine.chosen() == "oci"
    machine.oci.refuses = "no limits on version 1"
    assert machine.chosen() == "podman"
    assert machine.podman.taken == []  # the image is in Podman already


def test_an_engine_that_docker_host_names_is_used_even_if_its_socket_is_closed(machine: Machine) -> None:
    machine.is_here(podman=True)
    machine.is_open(docker=False)
    machine.environ["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
    assert machine.engines().image_store().name == "docker"


def test_a_machine_without_an_engine_is_an_error(machine: Machine) -> None:
    machine.docker = None
    with pytest.raises(EngineError):
        machine.chosen()


@pytest.mark.parametrize("name", ["podman", "nerdctl"])
def test_podman_and_nerdctl_take_the_image_from_docker(machine: Machine, name: str) -> None:
    assert machine.chosen(name) == name
    taken = machine.podman.taken if name == "podman" else machine.nerdctl.taken
    assert taken == ["i:1 from unix:///nowhere/docker.sock"]
    assert machine.watched == ["unix:///nowhere/podman.sock" if name == "podman" else "nerdctl:"]


def test_a_runtime_that_docker_is_configured_for_runs_on_docker(machine: Machine) -> None:
    assert machine.docker
    machine.docker.known = ("runc", "runsc")
    for runtime, engine in (("runsc", "docker"), ("youki", "oci")):
        spec = TaskSpec(task="t", image="i:1", code=SPEC.code, hardening=Hardening(runtime=runtime))
        assert machine.chosen(spec=spec) == engine


def test_each_engine_is_reported_and_a_failure_stops_no_other_report(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise EngineLost("it broke", hint="mend it")

    monkeypatch.setattr(engine_report, "_docker", fail)
    monkeypatch.setattr(engine_report, "_oci", lambda: "crun")
    reports = {report.name: report for report in engine_report.report_engines(machine.environ)}
    assert set(reports) == set(engines.ENGINES) - {"auto"}
    assert (reports["docker"].state, reports["docker"].fix) == ("failed", "mend it")
    assert reports["podman"].state == reports["nerdctl"].state == "absent"
    assert (reports["oci"].state, reports["oci"].what) == ("ok", "crun")
