"""The spellings of accelerators: every one of Flyte's, and devices that no machine has."""

from __future__ import annotations

import pytest

from flyte_images_runtime.errors import SpecError
from flyte_images_runtime.resources.accelerators import (
    AMD_GPU,
    GPU,
    GPUAccelerator,
    GPURequest,
    combine,
    parse_accelerator,
    parse_gpu,
)
from flyte_images_runtime.resources.gpu_models import MODELS, find_model


def _nvidia(model: str, count: int = 1, partition: str | None = None, *, shared: bool = False) -> GPURequest:
    return GPURequest(family="nvidia", model=model, count=count, partition=partition, shared=shared)


@pytest.mark.parametrize(
    ("written", "request_"),
    [
        (1, GPURequest(count=1)),
        ("1", GPURequest(count=1)),
        (8, GPURequest(count=8)),
        ("A10G", _nvidia("A10G")),
        ("A10G:1", _nvidia("A10G")),
        ("a10g:2", _nvidia("A10G", 2)),
        ("A100 80G:8", _nvidia("A100_80G", 8)),
        ("A100_80G:1", _nvidia("A100_80G")),
        ("L40s:4", _nvidia("L40S", 4)),
        ("T4 shared", _nvidia("T4", shared=True)),
        ("L40S shared:1", _nvidia("L40S", shared=True)),
        ("RTX PRO 6000:2", _nvidia("RTX_PRO_6000", 2)),
        ("GB10:1", _nvidia("GB10")),
        ("MI300X:1", GPURequest(family="amd", model="MI300X", count=1)),
        ("Trn1:16", GPURequest(family="neuron", model="Trn1", count=16)),
        ("RTX4090:1", GPURequest(model="RTX4090", count=1)),
        ("RTX 4090", GPURequest(model="RTX 4090", count=1)),
        (GPU("A100", 2, "1g.5gb"), _nvidia("A100", 2, "1g.5gb")),
        (GPU("T4 shared", 1), _nvidia("T4", shared=True)),
        (GPU("TITAN V"), GPURequest(model="TITAN V", count=1)),
        (GPUAccelerator.NVIDIA_T4, _nvidia("T4")),
        ("V5E:1", GPURequest(family="tpu", model="V5E", count=1)),
        ("Gaudi1", GPURequest(family="gaudi", model="Gaudi1", count=1)),
        (AMD_GPU("MI250X"), GPURequest(family="amd", model="MI250X", count=1)),
        (AMD_GPU("MI300X:2"), GPURequest(family="amd", model="MI300X", count=2)),
    ],
)
def test_a_spelling_means_one_request(written: object, request_: GPURequest) -> None:
    assert parse_gpu(written) == request_


@pytest.mark.parametrize("written", [0, "0"])
def test_zero_is_no_request(written: object) -> None:
    assert parse_gpu(written) is None


@pytest.mark.parametrize(
    "written",
    [True, False, -1, "-1", "", "A10G:9", "T4:0", "T4:x", "lots", "yes", 200, "200", 1.0, None, [1], "a;b:1", ":1"],
)
def test_nonsense_is_refused_with_a_remedy(written: object) -> None:
    with pytest.raises(SpecError) as refused:
        parse_gpu(written)
    assert refused.value.hint
    assert len(str(refused.value)) + len(refused.value.hint) < 300


@pytest.mark.parametrize(
    ("model", "partition", "message"),
    [
        ("A10", "1g.5gb", "the NVIDIA A10 cannot be partitioned: `1g.5gb`"),
        ("A100", "1g.18gb", "`1g.18gb` is not a partition of the NVIDIA A100"),
        ("RTX 4090", "half", "`half` is not a MIG partition"),
        (None, "1g.5gb", "partition `1g.5gb` without a model"),
    ],
)
def test_a_partition_that_the_card_lacks_is_refused(model: str | None, partition: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        GPU(model, 1, partition)
    assert str(refused.value) == message


@pytest.mark.parametrize("quantity", [0, -1, True, 1.5, "1", 9])
def test_a_count_that_no_machine_has_is_refused(quantity: object) -> None:
    with pytest.raises(SpecError):
        GPU("A10G", quantity)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["H100", "RTX 4090", "MI300X:x", 3])
def test_devices_of_another_kind_are_refused(device: str) -> None:
    with pytest.raises(SpecError) as refused:
        AMD_GPU(device)
    assert refused.value.hint


def test_the_count_and_the_model_may_be_given_apart() -> None:
    assert combine("2", "T4") == _nvidia("T4", 2)
    assert combine(None, GPUAccelerator.NVIDIA_H100) == _nvidia("H100")
    assert combine("T4:2", "T4") == _nvidia("T4", 2)
    assert combine(None, GPU("A100", 1, "1g.5gb")) == _nvidia("A100", 1, "1g.5gb")
    assert combine(2, "RTX 4090") == GPURequest(model="RTX 4090", count=2)
    assert combine(None, None) is None
    assert combine(0, None) is None


@pytest.mark.parametrize(
    ("gpu", "accelerator"),
    [("T4:1", "A10G"), (0, "T4"), (9, "T4"), ("1", "2"), (1, True), (GPU("T4"), AMD_GPU("MI300X"))],
)
def test_a_conflict_is_refused(gpu: object, accelerator: object) -> None:
    with pytest.raises(SpecError) as refused:
        combine(gpu, accelerator)
    assert refused.value.hint


def test_each_accelerator_is_in_the_catalogue() -> None:
    for accelerator in GPUAccelerator.__members__.values():
        assert parse_accelerator(accelerator).model == accelerator.value
        assert MODELS[accelerator.value].name == accelerator.value


def test_each_name_of_the_platform_finds_its_card() -> None:
    wire = {
        "nvidia-tesla-a100": "A100",
        "nvidia-a100-80gb": "A100_80G",
        "nvidia-tesla-h100": "H100",
        "nvidia-a10": "A10",
        "nvidia-a10g": "A10G",
        "nvidia-l4": "L4",
        "nvidia-l4-vws": "L4",
        "nvidia-tesla-t4": "T4",
        "nvidia-tesla-v100": "V100",
        "nvidia-rtx-pro-6000": "RTX_PRO_6000",
    }
    assert {name: getattr(find_model(name), "name", None) for name in wire} == wire


def test_no_two_cards_share_a_spelling() -> None:
    spellings = [
        spelling.lower().replace("_", " ") for model in MODELS.values() for spelling in (model.name, *model.spelled)
    ]
    assert len(spellings) == len(set(spellings))
