"""What Docker is asked for: tight unless the specification says otherwise, and exactly the limits."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flyte_images_runtime.engines.docker.api import Attachment
from flyte_images_runtime.engines.docker.container import Settings, create_body
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.task.exchange import Exchange
from flyte_images_runtime.task.spec import Code, Hardening, Mount, TaskSpec

SPEC = TaskSpec(task="ml.train", image="train:1", code=Code(module="m", qualname="train", roots=("/src",)))
EXCHANGE = Exchange("name-1", Path("/x/in"), Path("/y/out"), Path("/x/fast"))
SETTINGS = Settings(owner="owner", user=(1000, 1000), library="/lib/flyte_images_runtime", shm=64 << 20)


def body(spec: TaskSpec = SPEC, settings: Settings = SETTINGS) -> dict[str, Any]:
    return create_body(spec, EXCHANGE, settings)


def test_by_default_a_task_may_do_nothing_special() -> None:
    host = body()["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["CapAdd"] == []
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["ReadonlyRootfs"] is True
    assert host["PidsLimit"] == 4096
    assert host["NetworkMode"] == "bridge"
    assert host["IpcMode"] == "private"
    assert "Privileged" not in host
    assert body()["User"] == "1000:1000"
    writable = [mount["Target"] for mount in host["Mounts"] if not mount["ReadOnly"]]
    assert writable == ["/run/flyte-images/out", "/run/flyte-images/fast"]
    assert not any("docker.sock" in mount["Source"] for mount in host["Mounts"])


def test_each_thing_is_loosened_by_its_name_alone() -> None:
    loose = Hardening(
        user="0:0",
        read_only_root=False,
        capabilities=("SYS_NICE",),
        seccomp="unconfined",
        new_privileges=True,
        pids=10,
        runtime="runsc",
    )
    made = body(replace(SPEC, hardening=loose, network="host", mounts=(Mount(source="/d", target="/data"),)))
    host = made["HostConfig"]
    assert made["User"] == "0:0"
    assert host["ReadonlyRootfs"] is False
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], ["SYS_NICE"])
    assert host["SecurityOpt"] == ["seccomp=unconfined"]
    assert (host["PidsLimit"], host["Runtime"], host["NetworkMode"]) == (10, "runsc", "host")
    assert {key: value for key, value in host["Mounts"][-1].items() if key != "BindOptions"} == {
        "Type": "bind",
        "Source": "/d",
        "Target": "/data",
        "ReadOnly": True,
    }
    assert body(replace(SPEC, network="none"))["HostConfig"]["NetworkMode"] == "none"


def test_limits_are_exact_and_memory_has_no_swap_on_top() -> None:
    limited = replace(SPEC, limits=Limits(cpu=Decimal("1.5"), memory=256 << 20))
    host = body(limited, replace(SETTINGS, cgroup_parent="/flyte-images/name-1"))["HostConfig"]
    assert host["NanoCpus"] == 1_500_000_000
    assert host["Memory"] == host["MemorySwap"] == 256 << 20
    assert host["CgroupParent"] == "/flyte-images/name-1"
    free = body()["HostConfig"]
    assert not {"NanoCpus", "Memory", "MemorySwap", "CgroupParent"} & set(free)


def test_thread_pools_follow_the_limit_unless_the_user_says_otherwise() -> None:
    limited = replace(SPEC, limits=Limits(cpu=Decimal("1.5")), env=(("OMP_NUM_THREADS", "7"),))
    env = dict(entry.split("=", 1) for entry in body(limited)["Env"])
    assert (env["OMP_NUM_THREADS"], env["MKL_NUM_THREADS"], env["PYTHON_CPU_COUNT"]) == ("7", "2", "2")
    assert "OMP_NUM_THREADS" not in dict(entry.split("=", 1) for entry in body()["Env"])


def test_devices_are_asked_for_by_their_cdi_names() -> None:
    host = body(replace(SPEC, devices=("nvidia.com/gpu=0",)))["HostConfig"]
    assert host["DeviceRequests"] == [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0"]}]


def test_streams_are_told_apart_however_they_are_cut() -> None:
    frames = b"\1\0\0\0\0\0\0\2ab" + b"\2\0\0\0\0\0\0\0" + b"\2\0\0\0\0\0\0\3cde" + b"\1\0\0\0\0\1\0\0" + b"x" * 65536
    for size in (1, 3, 7, 8, 9, 70_000):
        ours, theirs = socket.socketpair()
        attachment = Attachment(ours, frames[:size])
        received: dict[int, bytes] = {}

        def keep(number: int, content: bytes, received: dict[int, bytes] = received) -> None:
            received[number] = received.get(number, b"") + content

        for at in range(size, len(frames), 16_384):
            theirs.sendall(frames[at : at + 16_384])
            assert attachment.read(keep, None)
        theirs.close()
        while attachment.read(keep, None):
            pass
        attachment.close()
        assert received == {1: b"ab" + b"x" * 65536, 2: b"cde"}


def test_a_reader_can_be_woken_and_waits_no_longer_than_told() -> None:
    ours, theirs = socket.socketpair()
    attachment = Attachment(ours, b"")
    attachment.wake()
    assert attachment.read(lambda *_: None, None)
    assert attachment.read(lambda *_: None, 0.01)
    attachment.close()
    attachment.wake()  # of a thread that did not know yet
    theirs.close()


@pytest.mark.parametrize("descriptors", [1200])
def test_more_open_files_than_select_can_count(descriptors: int) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < descriptors + 50:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, descriptors + 50), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(descriptors)]
    try:
        ours, theirs = socket.socketpair()
        attachment = Attachment(ours, b"")
        theirs.sendall(b"\1\0\0\0\0\0\0\1a")
        assert attachment.read(lambda *_: None, 5)
        attachment.close()
        theirs.close()
    finally:
        for descriptor in held:
            os.close(descriptor)
