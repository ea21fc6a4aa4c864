"""Each field of Docker's request becomes an option of nerdctl."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from flyte_images_runtime.engines.docker.container import Settings, create_body
from flyte_images_runtime.engines.nerdctl.flags import run_options
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.task.exchange import Exchange, make_exchange
from flyte_images_runtime.task.spec import Code, Hardening, Mount, TaskSpec

MI = 1 << 20


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    made = make_exchange()
    yield made
    made.remove()


def _options(exchange: Exchange, **given: Any) -> dict[str, list[str]]:
    """Return the options of one task's container, by name."""
    spec = TaskSpec(task="t", image="img:1", code=Code(module="m", qualname="f", roots=("/c",)), **given)
    settings = Settings(owner="o", user=(1000, 1001), library="/lib", shm=7 * MI, cgroup_parent="/p")
    argv = list(run_options(create_body(spec, exchange, settings), "name"))
    found: dict[str, list[str]] = {}
    while argv[0].startswith("--"):
        option = argv.pop(0)
        found.setdefault(option, []).append("" if option == "--read-only" else argv.pop(0))
    found["command"] = argv
    return found


def test_only_requested_rights_are_given(exchange: Exchange) -> None:
    found = _options(exchange, network="none")
    assert found["--cap-drop"] == ["ALL"]
    assert "--cap-add" not in found
    assert found["--security-opt"] == ["no-new-privileges"]
    assert "--read-only" in found
    assert found["--network"] == ["none"]
    assert found["--user"] == ["1000:1001"]
    assert found["--pids-limit"] == ["4096"]
    assert found["--ipc"] == ["private"]
    assert found["--cgroup-parent"] == ["/p"]
    assert found["--pull"] == ["never"]
    assert "--publish" not in found
    assert found["command"][0] == "img:1"
    assert found["command"][-1] == "--watch-stdin"
    assert all(",readonly" in mount for mount in found["--mount"] if "/out" not in mount and "/fast" not in mount)


def test_limits_are_exact(exchange: Exchange) -> None:
    found = _options(exchange, limits=Limits(cpu=Decimal("0.25"), memory=64 * MI), hardening=Hardening(pids=32))
    assert found["--cpus"] == ["0.25"]
    assert found["--memory"] == found["--memory-swap"] == [str(64 * MI)]  # equal: no swap
    assert found["--pids-limit"] == ["32"]
    assert found["--shm-size"] == [str(7 * MI)]


def test_each_loosened_item_becomes_an_option(exchange: Exchange) -> None:
    loose = Hardening(user="0:0", read_only_root=False, capabilities=("NET_RAW",), new_privileges=True, runtime="crun")
    mount = Mount(source='/odd, "name"', target="/in", read_only=False)
    found = _options(exchange, hardening=loose, mounts=(mount,), workdir="/w", env=(("A", "b c\nd"),), network="host")
    assert found["--user"] == ["0:0"]
    assert found["--cap-add"] == ["NET_RAW"]
    assert "--security-opt" not in found
    assert "--read-only" not in found
    assert found["--runtime"] == ["crun"]
    assert found["--workdir"] == ["/w"]
    assert found["--network"] == ["host"]
    assert "A=b c\nd" in found["--env"]
    assert found["--mount"][-1] == 'type=bind,"source=/odd, ""name""",target=/in,bind-propagation=rprivate'


def test_known_devices_are_passed_by_name(exchange: Exchange) -> None:
    found = _options(exchange, devices=("nvidia.com/gpu=0", "nvidia.com/gpu=1"))
    assert found["--device"] == ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]
