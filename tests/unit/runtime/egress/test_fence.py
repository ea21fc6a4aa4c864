"""The refused networks. Each engine's contract test shows that the fence works."""

from __future__ import annotations

import ipaddress

import pytest

from flyte_images_runtime.egress import fence
from flyte_images_runtime.egress.fence import Fence
from flyte_images_runtime.engines import preflight
from flyte_images_runtime.errors import EngineLost
from flyte_images_runtime.task.spec import Code, Hardening, TaskSpec


def test_a_fence_has_metadata_services_this_machine_and_its_bridges(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {ipaddress.ip_address(one) for one in ("127.0.0.1", "192.0.2.2", "fd00::2", "::1")}
    monkeypatch.setattr(fence, "own_addresses", lambda: own)
    monkeypatch.setattr(fence, "bridged_networks", lambda: {ipaddress.ip_network("172.17.0.0/16")})
    made = Fence.here("nameserver 192.0.2.2\n", ["10.0.2.0/24"])
    refused = set(map(str, made.refused))
    assert {"169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "10.0.2.0/24"} <= refused
    assert {"192.0.2.2/32", "fd00::2/128", "172.17.0.0/16"} <= refused
    assert not refused & {"127.0.0.1/32", "::1/128"}  # inside they are the container's own
    assert made.servers == (ipaddress.ip_address("192.0.2.2"),)
    assert Fence.of(made.document()) == made


def test_names_need_a_runtime_that_shares_the_kernel() -> None:
    code = Code(module="m", qualname="f")
    spec = TaskSpec(task="t", image="i", code=code, network="none", reaches=("a.example",))
    preflight.check_names(spec)
    with pytest.raises(EngineLost, match="runsc"):
        preflight.check_names(
            TaskSpec(task="t", image="i", code=code, reaches=("a.example",), hardening=Hardening(runtime="runsc"))
        )
