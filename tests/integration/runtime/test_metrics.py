"""The usage of a run is reported while it runs, and is in its metrics afterwards."""

from __future__ import annotations

import pytest

import flyte_images as flyte
from flyte_images.runner.engines import EngineName
from flyte_images_runtime.resources.metrics import Usage

from . import tasks

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("reusable", [None, True], ids=["fresh", "warm"])
@pytest.mark.parametrize("engine", ["docker", "oci"])
def test_usage_is_reported_while_a_task_runs(engine: EngineName, reusable: bool | None) -> None:
    told: list[tuple[str, str, Usage | None]] = []
    run = flyte.run.using(on_line=None, engine=engine, on_usage=lambda *each: told.append(each))
    done = run(tasks.burn.override(limits=flyte.Resources(cpu=1, memory="256Mi"), reusable=reusable), 2.0, 1)
    assert {task for task, _, _ in told} == {done.task}
    assert len({name for _, name, _ in told}) == 1
    *during, last = [usage for _, _, usage in told]
    assert last is None
    cpu = [usage.cpu for usage in during if usage is not None and usage.cpu is not None]
    assert len(cpu) > 1
    assert cpu == sorted(cpu)
    assert done.metrics.cpu is not None
    assert cpu[-1] <= done.metrics.cpu + 1.0  # with the usage of a warm container
    memory = [usage.memory for usage in during if usage is not None and usage.memory is not None]
    assert memory
    assert max(memory) <= 256 << 20


@pytest.mark.parametrize("engine", ["docker", "oci"])
def test_traffic_is_reported_for_a_separate_network(engine: EngineName) -> None:
    run = flyte.run.using(on_line=None, engine=engine)
    own = run(tasks.slow.override(network="outbound"), 0.0)
    assert own.metrics.received_bytes is not None
    for network in ("none", "host"):
        assert run(tasks.slow.override(network=network), 0.0).metrics.received_bytes is None
