"""A request becomes leased cards, or an error that lists the cards of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flyte_images_runtime.errors import DeviceError
from flyte_images_runtime.gpu import Card, Inventory, allocate
from flyte_images_runtime.gpu.lease import wait_for
from flyte_images_runtime.resources.accelerators import GPU, GPURequest, parse_gpu

from ....fakes.nvml import Driver

H200 = ("NVIDIA H200|GPU-h0|0|143771||", "NVIDIA H200|GPU-h1|1|143771||")
T4 = "Tesla T4|GPU-t4|2|15360|4242|"
CARDS = tuple(
    Card(family="nvidia", index=index, name=name, uuid=uuid, memory=memory << 30, nodes=(f"/dev/nvidia{index}",))
    for index, name, uuid, memory in (
        ("0", "NVIDIA H200", "GPU-h0", 141),
        ("1", "NVIDIA H200", "GPU-h1", 141),
        ("2", "Tesla T4", "GPU-t4", 15),
    )
)


class Machine:
    """Cards, CDI files for them, and a directory for leases, as one process sees them."""

    def __init__(self, directory: Path, cards: tuple[Card, ...] = CARDS) -> None:
        self.cards = cards
        self.directory = directory
        self.looks = 0
        self.environ = {"FLYTE_IMAGES_LEASES": str(directory / "leases")}
        (directory / "cdi").mkdir()
        devices = [
            {"name": card.uuid, "containerEdits": {"deviceNodes": [{"path": node} for node in card.nodes]}}
            for card in cards
        ]
        spec = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}
        (directory / "cdi/nvidia.json").write_text(json.dumps(spec))

    # type: ignore[no-untyped-def]
    def ask(self, request: object, *, wait: float = 0, held: tuple[str, ...] = (), **environ: str):
        asked = parse_gpu(request)
        assert asked is not None
        return allocate(
            asked,
            environ={**self.environ, **environ},
            wait=wait,
            note="task `train`",
            held=lambda: held,
            directories=[self.directory / "cdi"],
            look=self.look,
        )

    def look(self, _: GPURequest) -> Inventory:
        self.looks += 1
        return Inventory(cards=self.cards, problems=() if self.cards else ("no NVIDIA GPU: no driver is loaded",))

    def refusal(self, request: object, **options: object) -> str:
        with pytest.raises(DeviceError) as refused:
            self.ask(request, **options)  # type: ignore[arg-type]
        assert refused.value.hint
        assert refused.value.exit_code == 3
        return str(refused.value)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_leased_cards_have_names_for_the_engine_and_one_owner(machine: Machine) -> None:
    with machine.ask("H200:2") as gpus:
        assert gpus.devices == ("nvidia.com/gpu=GPU-h0", "nvidia.com/gpu=GPU-h1")
        assert gpus.uuids == ("GPU-h0", "GPU-h1")
        assert [node.path for node in gpus.edits.nodes] == ["/dev/nvidia0", "/dev/nvidia1"]
        told = machine.refusal("H200:1")
        assert (
            told == f"asked for 1 x NVIDIA H200; 0 of 2 free: 2 x NVIDIA H200 (busy: pid {os.getpid()}, task `train`)"
        )
        with machine.ask(1) as other:
            assert other.uuids == ("GPU-t4",)
    assert machine.ask("H200:2").uuids == ("GPU-h0", "GPU-h1")


def test_an_error_about_a_missing_card_lists_the_present_cards(machine: Machine, tmp_path: Path) -> None:
    assert machine.refusal("H100:1") == "asked for 1 x NVIDIA H100; this host has 2 x NVIDIA H200, 1 x Tesla T4"
    assert machine.refusal("H200:3").startswith("asked for 3 x NVIDIA H200; this host has 2 x")
    assert machine.refusal("RTX 4090").startswith("asked for 1 x RTX 4090; this host has")
    assert machine.refusal(GPU("H200", 1, "1g.18gb")).startswith("asked for 1 x NVIDIA H200 (1g.18gb); this host has")
    machine.cards = ()
    assert machine.refusal(1) == "asked for 1 GPU of any model; no NVIDIA GPU: no driver is loaded"


@pytest.mark.parametrize(("device", "word"), [("V5E:1", "TPU"), ("Inf2:1", "AWS"), ("Gaudi1", "Gaudi")])
def test_an_accelerator_that_no_local_engine_has_is_refused_by_name(
    machine: Machine, device: object, word: str
) -> None:
    assert word in machine.refusal(device)


def test_two_cards_of_any_model_are_of_one_model_if_possible(machine: Machine) -> None:
    with machine.ask(2) as gpus:
        assert gpus.uuids == ("GPU-h0", "GPU-h1")
    with machine.ask(3) as gpus:
        assert set(gpus.uuids) == {"GPU-h0", "GPU-h1", "GPU-t4"}
    with machine.ask(1) as gpus:  # the smallest card, so that the large ones stay free
        assert gpus.uuids == ("GPU-t4",)


def test_a_card_on_which_others_compute_is_busy_but_may_be_shared(machine: Machine) -> None:
    from dataclasses import replace

    machine.cards = (replace(CARDS[2], processes=(4242,)),)
    assert machine.refusal("T4") == "asked for 1 x NVIDIA T4; 0 of 1 free: 1 x Tesla T4 (busy: pid 4242)"
    with machine.ask("T4 shared") as one, machine.ask("T4 shared") as other:
        assert one.uuids == other.uuids == ("GPU-t4",)


def test_a_container_that_outlived_its_client_keeps_its_card(machine: Machine) -> None:
    assert machine.ask("H200", held=("GPU-h0",)).uuids == ("GPU-h1",)
    assert "1 x NVIDIA H200 (busy: a running container)" in machine.refusal("H200:2", held=("GPU-h0",))


def test_cuda_visible_devices_counts(machine: Machine) -> None:
    assert machine.ask("H200", CUDA_VISIBLE_DEVICES="1").uuids == ("GPU-h1",)
    told = machine.refusal("H200:2", CUDA_VISIBLE_DEVICES="1")
    assert told.endswith(
        "this host has 2 x NVIDIA H200, 1 x Tesla T4, of which CUDA_VISIBLE_DEVICES leaves 1 x NVIDIA H200"
    )


def test_waiting_ends_with_an_error_that_names_the_holder(machine: Machine) -> None:
    with machine.ask("T4"):
        assert " after 0.05 s" in machine.refusal("T4", wait=0.05)


def test_the_driver_is_not_asked_while_others_have_the_cards(machine: Machine) -> None:
    with machine.ask("T4"):
        before = machine.looks
        machine.refusal("T4", wait=0.3)
        assert machine.looks - before == 2  # once for the cards, and at the end for the holders


def test_the_lease_stays_with_the_container_when_the_client_is_killed(machine: Machine, tmp_path: Path) -> None:
    container = subprocess.Popen(("sleep", "60"))
    client = """
import os, sys
from pathlib import Path
from flyte_images_runtime.gpu.allocate import Allocation
from flyte_images_runtime.gpu.cdi import Registry
from flyte_images_runtime.gpu.lease import take
lease = take(Path(sys.argv[1]), lambda attempt: ("GPU-t4",) if attempt("GPU-t4") else ())
Allocation((), (), Registry(), lease).hold_while(int(sys.argv[2]))
os.kill(os.getpid(), 9)
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = (sys.executable, "-c", client, machine.environ["FLYTE_IMAGES_LEASES"], str(container.pid))
    assert subprocess.run(argv, env=environ).returncode == -9
    assert "0 of 1 free" in machine.refusal("T4")
    container.kill()
    container.wait()

    def free() -> object:
        try:
            return machine.ask("T4")
        except DeviceError:
            return None

    assert wait_for(free, seconds=20) is not None  # type: ignore[arg-type]


def test_a_released_lease_leaves_nothing_locked(machine: Machine) -> None:
    container = subprocess.Popen(("sleep", "60"))
    try:
        gpus = machine.ask("T4")
        gpus.hold_while(container.pid)
        gpus.release()
        machine.ask("T4").release()
    finally:
        container.kill()
        container.wait()


MACHINE = """
import os
from pathlib import Path
from flyte_images_runtime.resources.accelerators import parse_gpu
from flyte_images_runtime.errors import DeviceError
from flyte_images_runtime.gpu import allocate
try:
    gpus = allocate(parse_gpu(os.environ["ASK"]), environ=os.environ, directories=[Path(os.environ["CDI"])])
    answer([gpus.devices, gpus.uuids])
except DeviceError as error:
    answer([str(error), error.hint])
"""


def test_through_the_driver_s_library(driver: Driver, machine: Machine, tmp_path: Path) -> None:
    driver.cards(*H200, T4)
    environ = {**machine.environ, "CDI": str(tmp_path / "cdi")}
    assert driver.ask(MACHINE, ASK="H200:1", **environ) == [["nvidia.com/gpu=GPU-h0"], ["GPU-h0"]]
    assert (
        driver.ask(MACHINE, ASK="T4", **environ)[0]
        == "asked for 1 x NVIDIA T4; 0 of 1 free: 1 x Tesla T4 (busy: pid 4242)"
    )
    assert driver.ask(MACHINE, ASK="A10G", **environ)[0].endswith("this host has 2 x NVIDIA H200, 1 x Tesla T4")


def test_a_card_that_no_engine_could_pass_is_an_error_before_the_start(
    driver: Driver, machine: Machine, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.write_text("a file, so that nothing can be written below it")
    driver.cards("NVIDIA H200|GPU-h0|77|143771||")
    told, hint = driver.ask(MACHINE, ASK="H200:1", **machine.environ, CDI=str(empty))
    assert told == "the device node `/dev/nvidia77` does not exist"
    assert "nvidia-modprobe" in hint


def test_a_request_without_a_model_is_plain() -> None:
    assert str(GPURequest(count=2)) == "2 GPUs of any model"
