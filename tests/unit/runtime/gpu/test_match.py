"""Names of real drivers, and their models."""

from __future__ import annotations

import pytest

from flyte_images_runtime.gpu.device import Card, describe
from flyte_images_runtime.gpu.match import fits, matching, visible
from flyte_images_runtime.resources.accelerators import GPURequest, parse_gpu

GI = 1 << 30
# NVML's names of real cards, and their memory.
REAL = {
    "Tesla T4": 15,
    "Tesla V100-SXM2-16GB": 16,
    "NVIDIA A10": 23,
    "NVIDIA A10G": 23,
    "NVIDIA A100-SXM4-40GB": 40,
    "NVIDIA A100-PCIE-40GB": 40,
    "NVIDIA A100 80GB PCIe": 80,
    "NVIDIA A100-SXM4-80GB": 80,
    "NVIDIA L4": 23,
    "NVIDIA L40": 45,
    "NVIDIA L40S": 45,
    "NVIDIA H100 80GB HBM3": 80,
    "NVIDIA H100 PCIe": 80,
    "NVIDIA H100 NVL": 94,
    "NVIDIA H200": 141,
    "NVIDIA H200 NVL": 141,
    "NVIDIA GH200 480GB": 96,
    "NVIDIA B200": 180,
    "NVIDIA GB200": 186,
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": 96,
    "NVIDIA RTX 6000 Ada Generation": 48,
    "NVIDIA GeForce RTX 4090": 24,
    "NVIDIA GB10": 0,
}


def _card(name: str, *, memory: int = 0, partition: str | None = None) -> Card:
    return Card(family="nvidia", index="0", name=name, uuid=f"GPU-{name}", memory=memory, partition=partition)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("T4", {"Tesla T4"}),
        ("V100", {"Tesla V100-SXM2-16GB"}),
        ("A10", {"NVIDIA A10"}),
        ("A10G", {"NVIDIA A10G"}),
        ("A100", {"NVIDIA A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB", "NVIDIA A100 80GB PCIe", "NVIDIA A100-SXM4-80GB"}),
        ("A100_80G", {"NVIDIA A100 80GB PCIe", "NVIDIA A100-SXM4-80GB"}),
        ("A100 80G", {"NVIDIA A100 80GB PCIe", "NVIDIA A100-SXM4-80GB"}),
        ("L4", {"NVIDIA L4"}),
        ("L40", {"NVIDIA L40"}),
        ("L40s", {"NVIDIA L40S"}),
        ("H100", {"NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H100 NVL"}),
        ("H200", {"NVIDIA H200", "NVIDIA H200 NVL"}),
        ("GH200", {"NVIDIA GH200 480GB"}),
        ("B200", {"NVIDIA B200"}),
        ("GB200", {"NVIDIA GB200"}),
        ("RTX_PRO_6000", {"NVIDIA RTX PRO 6000 Blackwell Server Edition"}),
        ("RTX 6000 Ada", {"NVIDIA RTX 6000 Ada Generation"}),
        ("RTX4090", {"NVIDIA GeForce RTX 4090"}),
        ("rtx 4090", {"NVIDIA GeForce RTX 4090"}),
        ("GB10", {"NVIDIA GB10"}),
        ("RTX 409", set()),
        ("1", set(REAL)),
    ],
)
def test_a_model_is_exactly_these_cards(asked: str, found: set[str]) -> None:
    request = parse_gpu(asked)
    assert request is not None
    assert {name for name, gib in REAL.items() if fits(request, _card(name, memory=gib * GI))} == found


def test_a_partition_and_a_card_do_not_fit_each_other() -> None:
    whole = _card("NVIDIA A100-SXM4-40GB", memory=40 * GI)
    part = _card("NVIDIA A100-SXM4-40GB MIG 1g.5gb", memory=5 * GI, partition="1g.5gb")
    asks_whole = GPURequest(count=1, family="nvidia", model="A100")
    asks_part = GPURequest(count=1, family="nvidia", model="A100", partition="1g.5gb")
    asks_other = GPURequest(count=1, family="nvidia", model="A100", partition="2g.10gb")
    assert [fits(asks_whole, whole), fits(asks_whole, part)] == [True, False]
    assert [fits(asks_part, whole), fits(asks_part, part), fits(asks_other, part)] == [False, True, False]
    assert matching(GPURequest(count=1), [whole, part]) == [whole]


def test_the_smallest_that_fits_comes_first() -> None:
    large, small = _card("NVIDIA A100-SXM4-80GB", memory=80 * GI), _card("NVIDIA A100-SXM4-40GB", memory=40 * GI)
    assert matching(GPURequest(count=1, family="nvidia", model="A100"), [large, small]) == [small, large]


def test_a_card_of_another_maker_is_another_card() -> None:
    assert not fits(GPURequest(count=1, family="amd", model="MI300X"), _card("NVIDIA H100 PCIe"))


@pytest.mark.parametrize(
    ("told", "left"),
    [("", ""), ("0", "0"), ("1,0", "01"), ("GPU-1", "1"), ("7,0", ""), ("0,7,1", "0"), ("-1", ""), (" 0 , 1", "01")],
)
def test_cuda_visible_devices_hides_cards(told: str, left: str) -> None:
    cards = [Card(family="nvidia", index=index, name="Tesla T4", uuid=f"GPU-{index}") for index in "01"]
    assert "".join(card.index for card in visible(cards, {"CUDA_VISIBLE_DEVICES": told})) == left


def test_cards_are_described_by_model_and_holder() -> None:
    cards = [
        Card(family="nvidia", index="0", name="NVIDIA H200", uuid="a"),
        Card(family="nvidia", index="1", name="NVIDIA H200", uuid="b"),
        Card(family="nvidia", index="2:0", name="NVIDIA A100-SXM4-40GB MIG 1g.5gb", uuid="c", partition="1g.5gb"),
    ]
    assert (
        describe(cards, {"b": "pid 7"})
        == "1 x NVIDIA H200, 1 x NVIDIA H200 (busy: pid 7), 1 x NVIDIA A100-SXM4-40GB (1g.5gb)"
    )
    assert describe([]) == "no GPU"
