"""The configuration for an OCI runtime: hardened unless the specification loosens an item by name."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flyte_images_runtime.gpu.cdi import Edits, Hook, Mount, Node
from flyte_images_runtime.oci.config import NodeNumber, Settings, bundle_config
from flyte_images_runtime.oci.rootfs import Rootfs, from_json
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.task.exchange import Exchange
from flyte_images_runtime.task.spec import Code, Hardening, TaskSpec
from flyte_images_runtime.task.spec import Mount as TaskMount

EXCHANGE = Exchange("name", Path("/x/in"), Path("/x/out"), Path("/x/fast"))
ROOTFS = Rootfs(layers=("/a",), env=("PATH=/opt/venv/bin:/usr/bin", "LANG=C.UTF-8"), workdir="/app")


def _config(settings: dict[str, Any] | None = None, rootfs: Rootfs = ROOTFS, **spec: Any) -> dict[str, Any]:
    task = TaskSpec(task="t", image="i", code=Code(module="m", qualname="f", roots=("/src",)), **spec)
    chosen = {
        "user": (1000, 1000),
        "library": "/lib",
        "shm": 1 << 30,
        "cgroup": "/c",
        "environment": {"HOME": "/tmp/home"},
    }
    return bundle_config(task, EXCHANGE, rootfs, Settings(**{**chosen, **(settings or {})}))


def _mounted(config: dict[str, Any], place: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [mount for mount in config["mounts"] if mount["destination"] == place]
    assert len(found) == 1
    return found[0]


def test_the_default_gives_the_fewest_rights() -> None:
    config = _config()
    assert config["root"]["readonly"]
    process = config["process"]
    assert process["noNewPrivileges"]
    assert set(map(tuple, process["capabilities"].values())) == {()}
    assert process["user"]["uid"] == 1000
    linux = config["linux"]
    assert linux["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert {one["type"] for one in linux["namespaces"]} == {"pid", "ipc", "uts", "mount", "cgroup", "network"}
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(linux["maskedPaths"])
    assert {"/proc/sys", "/proc/sysrq-trigger"} <= set(linux["readonlyPaths"])
    assert linux["resources"]["pids"]["limit"] == 4096


def test_each_part_is_loosened_by_its_name() -> None:
    loose = Hardening(
        read_only_root=False, new_privileges=True, seccomp="unconfined", capabilities=("sys_nice", "CAP_NET_RAW")
    )
    config = _config(hardening=loose)
    assert not config["root"]["readonly"]
    assert not config["process"]["noNewPrivileges"]
    assert "seccomp" not in config["linux"]
    assert config["process"]["capabilities"]["ambient"] == ["CAP_NET_RAW", "CAP_SYS_NICE"]
    assert "ambient" not in _config({"user": (0, 0)}, hardening=loose)["process"]["capabilities"]


def test_the_environment_is_the_image_s_then_the_devices_then_the_task_s() -> None:
    settings = {
        "environment": {"LANG": "de", "HOME": "/tmp/home"},
        "edits": Edits(env=("NVIDIA_VISIBLE_DEVICES=void",)),
    }
    env = _config(settings)["process"]["env"]
    assert {"PATH=/opt/venv/bin:/usr/bin", "LANG=de", "HOME=/tmp/home", "NVIDIA_VISIBLE_DEVICES=void"} <= set(env)
    assert len(env) == len({line.partition("=")[0] for line in env})


def test_an_image_without_a_path_has_the_usual_one() -> None:
    assert any(
        line.startswith("PATH=/usr/local/sbin:") for line in _config(rootfs=Rootfs(layers=("/a",)))["process"]["env"]
    )


def test_the_working_directory_is_the_task_s_else_the_image_s() -> None:
    assert _config()["process"]["cwd"] == "/app"
    assert _config(workdir="/data")["process"]["cwd"] == "/data"


def test_inputs_and_code_cannot_be_written() -> None:
    config = _config(
        mounts=(TaskMount(source="/d", target="/data"), TaskMount(source="/w", target="/work", read_only=False))
    )
    for place, writable in (
        ("/run/flyte-images/in", False),
        ("/run/flyte-images/out", True),
        ("/run/flyte-images/code/0", False),
        ("/data", False),
        ("/work", True),
    ):
        options = _mounted(config, place)["options"]
        assert ("rw" in options, "ro" in options) == (writable, not writable)


@pytest.mark.parametrize(("network", "own"), [("new", True), ("inherited", False)])
def test_the_network_is_new_or_that_of_who_starts_it(network: str, own: bool) -> None:
    found = [one for one in _config({"network": network})["linux"]["namespaces"] if one["type"] == "network"]
    assert found == ([{"type": "network"}] if own else [])


def test_leased_devices_bring_their_nodes_and_only_those_may_be_opened() -> None:
    edits = Edits(
        nodes=(Node(path="/dev/nvidia0", host="/host/nvidia3", permissions="rw"),),
        mounts=(Mount(host="/opt/libcuda.so", path="/usr/lib/libcuda.so"),),
        hooks=(Hook(name="createContainer", path="/bin/hook", args=("hook",), timeout=3),),
        groups=(44,),
    )
    nodes = {"/host/nvidia3": NodeNumber(kind="c", major=195, minor=3)}
    config = _config({"edits": edits, "nodes": nodes})
    (device,) = config["linux"]["devices"]
    assert (device["path"], device["major"], device["minor"], device["fileMode"]) == ("/dev/nvidia0", 195, 3, 0o666)
    assert config["linux"]["resources"]["devices"][1:] == [
        {"allow": True, "access": "rw", "type": "c", "major": 195, "minor": 3}
    ]
    assert _mounted(config, "/usr/lib/libcuda.so")["source"] == "/opt/libcuda.so"
    assert config["hooks"] == {"createContainer": [{"path": "/bin/hook", "args": ["hook"], "env": [], "timeout": 3}]}
    assert config["process"]["user"]["additionalGids"] == [44, 1000]


def test_the_document_has_no_limits() -> None:  # they are on the task's own cgroup, which outlives the container's
    assert _config(limits=Limits(cpu=Decimal(1), memory=1 << 30)) == _config()


def test_a_record_of_an_image_is_read_back() -> None:
    assert from_json(ROOTFS.to_json()) == ROOTFS
    for text in ("", "{}", "[]", '{"layers": 1}'):
        with pytest.raises(ValueError, match="not a record"):
            from_json(text)
