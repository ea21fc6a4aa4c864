"""On a machine with an NVIDIA GPU: the leased card computes in the container, and no other card is visible."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flyte_images_runtime.engines.docker import DockerEngine
from flyte_images_runtime.engines.oci import OciEngine
from flyte_images_runtime.errors import DeviceError, EngineLost
from flyte_images_runtime.execution.execute import call_document, execute
from flyte_images_runtime.gpu import Allocation, allocate, search
from flyte_images_runtime.gpu.utilization import watching
from flyte_images_runtime.resources.accelerators import GPURequest
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.task.engine import Engine
from flyte_images_runtime.task.exchange import make_exchange
from flyte_images_runtime.task.spec import Code, TaskSpec

pytestmark = pytest.mark.gpu
TASKS = str(Path(__file__).parent)
ONE = GPURequest(count=1, family="nvidia")
Call = Callable[..., Any]


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, str]:
    """Return an engine and an image: Docker with an image built here, else this machine's own files."""
    docker = DockerEngine()
    try:
        docker.facts  # noqa: B018 - asks the engine
    except EngineLost:
        return OciEngine(tmp_path_factory.mktemp("store")), "dir:/"
    import flyte_images as flyte

    return docker, flyte.build(flyte.Image.from_debian_base()).ref


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "FLYTE_IMAGES_LEASES": str(tmp_path / "leases")}


@pytest.fixture
def gpus(environ: dict[str, str]) -> Iterator[Allocation]:
    with allocate(ONE, environ=environ, wait=60) as taken:
        yield taken


@pytest.fixture
def call(runner: tuple[Engine, str]) -> Call:
    engine, image = runner

    def run(function: str, gpus: Allocation | None, **arguments: Any) -> Any:
        devices = gpus.devices if gpus else ()
        code = Code(module="tasks", qualname=function, roots=(TASKS,))
        limits = Limits(cpu=Decimal(1), memory=8 << 30)
        spec = TaskSpec(
            task=f"gpu.{function}",
            image=image,
            code=code,
            limits=limits,
            network="none",
            devices=devices,
        )
        exchange = make_exchange()
        try:
            exchange.write_call(call_document(spec, arguments, secrets={}))
            finished = execute(engine, spec, exchange)
        finally:
            exchange.remove()
        assert finished.error is None, finished.error
        return finished.result

    return run


def test_this_machine_has_a_card() -> None:
    found = search(ONE)
    assert found.cards, f"this suite is for a machine with an NVIDIA GPU; here: {found}"
    for card in found.cards:
        assert card.uuid.startswith(("GPU-", "MIG-"))
        assert all(Path(node).exists() for node in card.nodes)


def test_a_matrix_product_is_right(call: Call, gpus: Allocation) -> None:
    found = call("product", gpus, size=96)
    assert found["right"]
    (card,) = gpus.cards
    assert found["cards"] == 1
    if card.partition is None:  # a partition has its own address
        assert found["uuid"] == card.uuid.removeprefix("GPU-").replace("-", "")


def test_a_card_reports_its_used_memory(gpus: Allocation) -> None:
    with watching(gpus.cards) as look:
        memory, share = look()
    (card,) = gpus.cards
    if card.memory:  # a card that shares the machine's memory reports none
        assert memory is not None
        assert 0 <= memory <= card.memory
    if card.partition is None:
        assert share is not None
        assert 0 <= share <= 1


def test_only_the_leased_card_is_visible(call: Call, gpus: Allocation) -> None:
    found = call("nodes", gpus)
    cards = {name for name in found if name.removeprefix("nvidia").isdigit()}
    assert cards == {Path(node).name for card in gpus.cards for node in card.nodes if "caps" not in node}
    assert {found[name] for name in cards} == {"ok"}


def test_a_task_without_a_request_has_no_card(call: Call, runner: tuple[Engine, str]) -> None:
    assert {name: told for name, told in call("nodes", None).items() if told == "ok"} == {}
    assert call("has_driver", None) != "ok"


def test_a_card_has_one_task_at_a_time(environ: dict[str, str]) -> None:
    every = GPURequest(count=len(search(ONE).cards), family="nvidia")
    with (
        allocate(every, environ=environ, wait=60, note="task `first`"),
        pytest.raises(DeviceError, match="task `first`"),
    ):
        allocate(ONE, environ=environ)
    allocate(ONE, environ=environ).release()


def test_the_card_is_of_the_reported_model(environ: dict[str, str]) -> None:
    name = search(ONE).cards[0].name.removeprefix("NVIDIA ").removeprefix("Tesla ").partition(" MIG ")[0]
    with allocate(
        GPURequest(count=1, model=name, partition=search(ONE).cards[0].partition), environ=environ, wait=60
    ) as gpus:
        assert name in gpus.cards[0].name
    with pytest.raises(DeviceError, match="this host has"):
        allocate(GPURequest(count=1, model="Voodoo 2"), environ=environ)
