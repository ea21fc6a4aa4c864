"""Podman: its service, the limits that it would ignore, and the requests to it."""

from __future__ import annotations

import socket
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flyte_images_runtime.engines.docker.container import Settings
from flyte_images_runtime.engines.docker_defaults import insert
from flyte_images_runtime.engines.podman.engine import _as_an_ordinary_user, _not_kept
from flyte_images_runtime.engines.podman.service import Service, find_service
from flyte_images_runtime.errors import EngineLost
from flyte_images_runtime.gpu.cdi import Edits, Mount, Node
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.task.spec import Code, Hardening, TaskSpec


def _spec(**limits: Any) -> TaskSpec:
    return TaskSpec(task="t", image="i", code=Code(module="m", qualname="f"), limits=Limits(**limits))


@pytest.mark.parametrize(
    ("facts", "limits", "ignored"),
    [
        ({"CgroupVersion": "1"}, {"memory": 1 << 30, "cpu": Decimal(1)}, None),
        ({"CgroupVersion": "2", "SecurityOptions": ["name=rootless"]}, {"memory": 1 << 30}, None),
        ({"CgroupVersion": "1", "SecurityOptions": ["name=rootless"]}, {"memory": 1 << 30}, "memory"),
        ({"CgroupVersion": "1", "Rootless": True}, {"cpu": Decimal(1)}, "CPU"),
        ({"CgroupVersion": "1", "SecurityOptions": ["name=rootless"]}, {}, None),
        ({"CpuCfsQuota": False}, {"cpu": Decimal(1)}, "CPU"),
        ({"CpuCfsQuota": False}, {"memory": 1 << 30}, None),
        ({"MemoryLimit": False, "SecurityOptions": None}, {"memory": 1 << 30}, "memory"),
    ],
)
def test_an_ignored_limit_is_an_error_before_the_start(
    facts: dict[str, Any], limits: dict[str, Any], ignored: str | None
) -> None:
    assert _not_kept(facts, _spec(**limits)) == ignored


def test_a_process_limit_is_refused_only_if_requested() -> None:
    few = replace(_spec(), hardening=Hardening(pids=32))
    assert _not_kept({"CgroupVersion": "1", "Rootless": True}, few) == "process"
    assert _not_kept({"CgroupVersion": "2", "Rootless": True, "PidsLimit": False}, few) == "process"
    assert _not_kept({"CgroupVersion": "2", "Rootless": True, "PidsLimit": True}, few) is None


@pytest.mark.parametrize(("user", "mode"), [("0:0", None), ("1234:4321", "keep-id:uid=1234,gid=4321")])
def test_the_task_s_user_is_the_caller(user: str, mode: str | None) -> None:
    number, group = map(int, user.split(":"))
    spec = replace(_spec(), network="outbound")
    host: dict[str, Any] = {"PidsLimit": 1, "Tmpfs": {}, "NetworkMode": "bridge"}
    settings = Settings(owner="o", user=(number, group), library="/l", shm=1)
    _as_an_ordinary_user(host, spec, settings, v1=True)
    assert host.get("UsernsMode") == mode
    assert host["NetworkMode"] in ("slirp4netns", "pasta")
    assert "PidsLimit" not in host
    assert "/sys/fs/cgroup" in host["Tmpfs"]


def test_another_runtime_needs_a_service_started_here() -> None:
    told = find_service({"CONTAINER_HOST": "unix:///some/p.sock"}, user=1000)
    assert not told.ours
    assert Service(Path("/run/p.sock")).with_runtime("runsc").socket == Path("/run/p-runsc.sock")


def test_the_service_is_that_of_the_environment(tmp_path: Path) -> None:
    assert find_service({"CONTAINER_HOST": "unix:///some/p.sock"}, user=1000).socket == Path("/some/p.sock")
    with pytest.raises(EngineLost, match="cannot run on the Podman at ssh") as refused:
        find_service({"CONTAINER_HOST": "ssh://core@host/run/podman.sock"}, user=0)
    assert refused.value.exit_code == 3


def test_an_answering_socket_is_preferred(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert find_service(environ, user=1000).socket == tmp_path / "flyte-images/podman.sock"
    (tmp_path / "podman").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "podman/podman.sock"))
        server.listen()
        assert find_service(environ, user=1000).socket == tmp_path / "podman/podman.sock"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo cannot set up namespaces >&2; exit 125", "cannot set up namespaces"),
        (None, "the program `podman` is not installed"),
    ],
)
def test_a_service_that_does_not_start_is_an_error_with_the_reason(
    tmp_path: Path, script: str | None, told: str
) -> None:
    if script is not None:
        (tmp_path / "podman").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "podman").chmod(0o755)
    with pytest.raises(EngineLost, match=told) as refused:
        Service(tmp_path / "p.sock").start({"PATH": str(tmp_path)})
    assert refused.value.hint


def test_devices_are_requested_part_by_part() -> None:
    edits = Edits(
        env=("A=device", "B=device"),
        nodes=(Node(path="/dev/in", host="/dev/out", permissions="rw"),),
        mounts=(Mount(host="/lib/x", path="/usr/lib/x"), Mount(host="/w", path="/w", options=("rw",))),
        groups=(44,),
    )
    body: dict[str, Any] = {"Env": ["A=task"], "HostConfig": {"DeviceRequests": [{}], "Mounts": []}}
    insert(edits, body)
    host = body["HostConfig"]
    assert "DeviceRequests" not in host
    assert host["Devices"] == [{"PathOnHost": "/dev/out", "PathInContainer": "/dev/in", "CgroupPermissions": "rw"}]
    assert [(one["Target"], one["ReadOnly"]) for one in host["Mounts"]] == [("/usr/lib/x", True), ("/w", False)]
    assert host["GroupAdd"] == ["44"]
    assert dict(line.split("=") for line in body["Env"]) == {"A": "task", "B": "device"}
