"""A real second OCI runtime: gVisor, whose own kernel is between the task and the machine's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flyte_images_runtime.engines.docker import DockerEngine
from flyte_images_runtime.engines.oci import OciEngine
from flyte_images_runtime.engines.podman.images import hand_over
from flyte_images_runtime.errors import EngineLost, OutOfMemory
from flyte_images_runtime.execution.execute import Finished
from flyte_images_runtime.oci.images import Images
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.task.engine import Engine
from flyte_images_runtime.task.spec import Hardening
from tests.fakes.engines import private_engine

from ...fakes.contract_calls import Request, run

pytestmark = [pytest.mark.engine, pytest.mark.skipif(os.getuid() != 0, reason="the engines of this file are root's")]
MI = 1 << 20
Call = Callable[..., Finished]


@pytest.fixture(scope="module")
def docker_with_gvisor(
    tmp_path_factory: pytest.TempPathFactory, engine: DockerEngine, image: str
) -> Iterator[DockerEngine]:
    """Give a private Docker Engine with runsc in its settings."""
    runsc = {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=none"]}
    with private_engine(tmp_path_factory.mktemp("docker"), settings={"runtimes": {"runsc": runsc}}) as private:
        made = DockerEngine(private.api)
        hand_over(engine.api, made.api, image)
        yield made


@pytest.fixture(params=["oci", "docker"])
def call(request: pytest.FixtureRequest, engine: DockerEngine, image: str, tmp_path: Path) -> Iterator[Call]:
    chosen: Engine = (
        OciEngine(tmp_path / "store", docker=engine.api)
        if request.param == "oci"
        else request.getfixturevalue("docker_with_gvisor")
    )

    def call_it(function: str, runtime: str = "runsc", **arguments: Any) -> Finished:
        options = {
            "image": image,
            "network": "none",
            "limits": Limits(cpu=Decimal(1), memory=256 * MI),
            "hardening": Hardening(runtime=runtime),
        }
        return run(chosen, Request(function=function, arguments=arguments, options=options))

    yield call_it
    Images(tmp_path / "store").release()


def test_the_task_runs_on_gvisor_s_kernel(call: Call) -> None:
    assert "Linux version 4.4.0" in call("run", argv=["cat", "/proc/version"]).result  # the version that gVisor reports
    assert call("run", runtime="runc", argv=["cat", "/proc/version"]).result == Path("/proc/version").read_text()


def test_limits_are_kept_on_gvisor(call: Call) -> None:
    assert call("hold", mebibytes=40).result == 40
    assert isinstance(call("hold", mebibytes=300).error, OutOfMemory)


def test_an_unknown_runtime_is_refused(call: Call) -> None:
    with pytest.raises(EngineLost, match="OCI runtime `kata`") as refused:
        call("add", runtime="kata", one=1, other=2)
    assert "runsc" in str(refused.value.hint)
    with pytest.raises(EngineLost, match=r"io\.containerd\.kata\.v2"):
        call("add", runtime="io.containerd.kata.v2", one=1, other=2)
