"""A leased card reaches any Docker Engine: by its CDI name, as `--gpus` asks for it, or by its parts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_images_runtime.engines.docker import DockerEngine, engine
from flyte_images_runtime.engines.docker.container import Settings
from flyte_images_runtime.errors import DeviceError
from flyte_images_runtime.gpu import cdi, cdi_names
from flyte_images_runtime.task.exchange import Exchange
from flyte_images_runtime.task.spec import Code, TaskSpec

SPEC = TaskSpec(
    task="ml.train",
    image="train:1",
    code=Code(module="m", qualname="train"),
    devices=("nvidia.com/gpu=GPU-1",),
    device_ids=("GPU-1",),
)
EXCHANGE = Exchange("name-1", Path("/x/in"), Path("/y/out"), Path("/x/fast"))
SETTINGS = Settings(owner="owner", user=(1000, 1000), library="/lib/flyte_images_runtime", shm=64 << 20)
DOCUMENT = {
    "cdiVersion": "0.5.0",
    "kind": "nvidia.com/gpu",
    "devices": [{"name": "GPU-1", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0"}]}}],
    "containerEdits": {"mounts": [{"hostPath": "/lib/libcuda.so.1", "containerPath": "/usr/lib/libcuda.so.1"}]},
}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine's CDI files are. The driver, if it is asked, tells what is in none of them."""
    monkeypatch.setattr(cdi.read, "__defaults__", ((tmp_path,),))
    monkeypatch.setattr(cdi_names.edits_of, "__defaults__", ((tmp_path,),))
    monkeypatch.setattr(cdi_names, "specification", lambda family: DOCUMENT)
    monkeypatch.setattr(engine, "which", lambda program: None)
    return tmp_path


def host(spec: TaskSpec = SPEC, **facts: Any) -> dict[str, Any]:
    docker = DockerEngine()
    docker.__dict__["facts"] = facts
    made: dict[str, Any] = docker.body(spec, EXCHANGE, SETTINGS)["HostConfig"]
    return made


def test_an_engine_that_reads_the_files_is_given_the_name(directory: Path) -> None:
    (directory / "nvidia.json").write_text(json.dumps(DOCUMENT))
    assert host(CDISpecDirs=[str(directory)])["DeviceRequests"] == [
        {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=GPU-1"]}
    ]


def test_an_engine_with_nvidias_runtime_and_no_file_is_asked_as_by_gpus(directory: Path) -> None:
    made = host(CDISpecDirs=[str(directory)], Runtimes={"runc": {}, "nvidia": {}})
    assert made["DeviceRequests"] == [{"DeviceIDs": ["GPU-1"], "Capabilities": [["gpu", "compute", "utility"]]}]
    assert "Devices" not in made


@pytest.mark.parametrize("written", [True, False])
def test_any_other_engine_is_told_the_parts(directory: Path, written: bool) -> None:
    if written:
        (directory / "nvidia.json").write_text(json.dumps(DOCUMENT))
    made = host(CDISpecDirs=None, Runtimes={"runc": {}})
    assert "DeviceRequests" not in made
    assert [device["PathOnHost"] for device in made["Devices"]] == ["/dev/nvidia0"]
    assert "/lib/libcuda.so.1" in [mount["Source"] for mount in made["Mounts"]]


def test_what_no_file_and_no_maker_knows_is_refused_by_its_name(directory: Path) -> None:
    with pytest.raises(DeviceError, match=r"`acme.com/gpu=7`"):
        host(replace(SPEC, devices=("acme.com/gpu=7",)), Runtimes={"nvidia": {}})
