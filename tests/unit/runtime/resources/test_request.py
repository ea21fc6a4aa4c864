"""Resources: limits in the kernel's units; a value that no limit can have is an error where it is written."""

from __future__ import annotations

import pickle
from decimal import Decimal

import pytest

from flyte_images_runtime.errors import SpecError
from flyte_images_runtime.resources.accelerators import GPU, GPUAccelerator, GPURequest
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.resources.request import Resources

GI = 1 << 30


def test_resources_without_values_set_no_limits() -> None:
    assert Resources().limits() == Limits()


def test_the_example_of_the_specification() -> None:
    limits = Resources(cpu="2", mem="8Gi", gpu="1").limits(GPUAccelerator.NVIDIA_A10G)
    assert limits == Limits(cpu=Decimal(2), memory=8 * GI, gpu=GPURequest(family="nvidia", model="A10G", count=1))


def test_mem_and_memory_are_one_limit() -> None:
    assert Resources(mem="8Gi") == Resources(memory="8Gi")
    assert Resources(mem="8Gi").memory == Resources(memory="8Gi").mem == "8Gi"


def test_the_limit_of_a_pair_is_the_limit() -> None:
    both = Resources(cpu=(1, "2500m"), memory=("500M", "2Gi"))
    assert both.limits() == Limits(cpu=Decimal("2.5"), memory=2 * GI)


def test_a_list_is_a_pair() -> None:
    assert Resources(cpu=[1, 2]) == Resources(cpu=(1, 2))  # type: ignore[arg-type]


def test_shared_memory_is_a_size_or_all_of_the_memory() -> None:
    assert Resources(memory="2Gi", shm="1Gi").limits().shm == GI
    assert Resources(memory="2Gi", shm="auto").limits().shm is None


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"cpu": "x"}, "`x` is not a number of cores"),
        ({"cpu": True}, "cpu=True"),
        ({"cpu": (4, 1)}, "cpu=(4, 1): the request is more than the limit"),
        ({"cpu": (1, 2, 3)}, "cpu=(1, 2, 3) has 3 values"),
        ({"cpu": (1, None)}, "cpu=None"),
        ({"cpu": ()}, "cpu=() has 0 values"),
        ({"memory": "1 gigabyte"}, "`1 gigabyte` is not a size"),
        ({"mem": "1 gigabyte"}, "`1 gigabyte` is not a size"),
        ({"memory": ("2Gi", "1Gi")}, "memory=('2Gi', '1Gi'): the request is more than the limit"),
        ({"memory": 1024}, "memory=1024 is too small"),
        ({"memory": -1}, "memory=-1"),
        ({"memory": 1.5}, "memory=1.5 is not a size"),
        ({"memory": "1Gi", "mem": "1Gi"}, "mem='1Gi' and memory='1Gi' are two names of one thing"),
        ({"disk": "lots"}, "`lots` is not a size"),
        ({"disk": 0}, "disk=0"),
        ({"shm": "big"}, "`big` is not a size"),
        ({"shm": "2Gi", "memory": "1Gi"}, "shm='2Gi' is more than memory='1Gi'"),
        ({"gpu": True}, "gpu=True"),
        ({"gpu": "A10G:9"}, "no machine has 9 NVIDIA A10G"),
        ({"gpu": 200}, "no machine has 200 GPUs"),
        ({"gpu": -1}, "`-1` asks for -1 GPUs"),
    ],
)
def test_nonsense_is_refused_where_it_is_written(written: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        Resources(**written)  # type: ignore[arg-type]
    assert str(refused.value).startswith(message)
    assert refused.value.hint


def test_a_model_that_contradicts_the_accelerator_is_refused() -> None:
    with pytest.raises(SpecError, match="name two models"):
        Resources(gpu="T4:1").limits(GPUAccelerator.NVIDIA_A10G)


def test_resources_are_a_value() -> None:
    one = Resources(cpu=1, memory="1Gi", gpu=GPU("A100", 1, "1g.5gb"))
    assert pickle.loads(pickle.dumps(one)) == one
    assert hash(one) == hash(Resources(cpu=1, memory="1Gi", gpu=GPU("A100", 1, "1g.5gb")))
    with pytest.raises(AttributeError):
        one.cpu = 2  # type: ignore[misc]
    assert eval(repr(Resources(cpu=(1, 2), memory="1Gi", gpu="T4:1"))) == Resources(
        cpu=(1, 2), memory="1Gi", gpu="T4:1"
    )
