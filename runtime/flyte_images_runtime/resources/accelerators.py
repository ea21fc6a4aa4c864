"""An accelerator as a user writes it -> GPURequest: family, model, count, partition. Pure.

A name that the catalogue (`gpu_models.py`) does not have is kept as text, and compared with the names of the machine's
cards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from ..errors import SpecError
from ..portable.suggest import did_you_mean
from .gpu_models import MODELS, Family, Model, find_model

MOST = 64  # accelerators of one task; no machine has more
_SHARED = re.compile(r"[ _-]shared$", re.IGNORECASE)
_TEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}")
_PROFILE = re.compile(r"[1-9]g\.[1-9][0-9]{0,2}gb")


class GPUAccelerator(StrEnum):
    """Cards by name: `accelerator=GPUAccelerator.NVIDIA_A10G`. Name another card as text: `accelerator="RTX 4090"`.

    >>> GPUAccelerator.NVIDIA_A10G.value
    'A10G'
    """

    NVIDIA_K80 = "K80"
    NVIDIA_M60 = "M60"
    NVIDIA_P4 = "P4"
    NVIDIA_P100 = "P100"
    NVIDIA_V100 = "V100"
    NVIDIA_T4 = "T4"
    NVIDIA_A2 = "A2"
    NVIDIA_A10 = "A10"
    NVIDIA_A10G = "A10G"
    NVIDIA_A30 = "A30"
    NVIDIA_A40 = "A40"
    NVIDIA_A100 = "A100"
    NVIDIA_A100_80G = "A100_80G"
    NVIDIA_L4 = "L4"
    NVIDIA_L40 = "L40"
    NVIDIA_L40S = "L40S"
    NVIDIA_H100 = "H100"
    NVIDIA_H200 = "H200"
    NVIDIA_GH200 = "GH200"
    NVIDIA_B200 = "B200"
    NVIDIA_GB200 = "GB200"
    NVIDIA_B300 = "B300"
    NVIDIA_RTX_PRO_4500 = "RTX_PRO_4500"
    NVIDIA_RTX_PRO_6000 = "RTX_PRO_6000"
    RTX_PRO_4500 = "RTX_PRO_4500"
    RTX_PRO_6000 = "RTX_PRO_6000"
    NVIDIA_GB10 = "GB10"
    GB10 = "GB10"
    AMD_MI100 = "MI100"
    AMD_MI210 = "MI210"
    AMD_MI250 = "MI250"
    AMD_MI250X = "MI250X"
    AMD_MI300A = "MI300A"
    AMD_MI300X = "MI300X"
    AMD_MI325X = "MI325X"
    AMD_MI350X = "MI350X"
    AMD_MI355X = "MI355X"


@dataclass(frozen=True, slots=True, kw_only=True)
class GPURequest:
    """The devices to lease: `count` devices of `family` and `model` (None: any), each a whole card or a `partition`.

    >>> str(GPURequest(family="nvidia", model="A100", count=2, partition="1g.5gb"))
    '2 x NVIDIA A100 (1g.5gb)'
    >>> str(GPURequest(count=1))
    '1 GPU of any model'
    """

    count: int
    family: Family | None = None
    model: str | None = None
    partition: str | None = None
    shared: bool = False

    def __str__(self) -> str:
        notes = [note for note in (self.partition, "shared" if self.shared else None) if note]
        suffix = f" ({', '.join(notes)})" if notes else ""
        if self.model is None:
            return f"{self.count} GPU{'s' if self.count > 1 else ''} of any model{suffix}"
        model = MODELS.get(self.model)
        return f"{self.count} x {model.title if model else self.model}{suffix}"


@dataclass(frozen=True, slots=True, init=False)
class Device:
    """An accelerator as a value. `GPU` and `AMD_GPU` make it, and raise SpecError for a device that no machine has.

    >>> device = GPU("T4", 2)
    >>> device.device, device.quantity
    ('T4', 2)
    """

    device: str | None
    quantity: int
    partition: str | None
    request: GPURequest

    def __init__(self, device: str | None, quantity: int, partition: str | None, request: GPURequest) -> None:
        object.__setattr__(self, "device", device)
        object.__setattr__(self, "quantity", quantity)
        object.__setattr__(self, "partition", partition)
        object.__setattr__(self, "request", request)


def GPU(  # noqa: N802 - flyte's spelling of a value
    device: str | None = None, quantity: int = 1, partition: str | None = None, *, shared: bool = False
) -> Device:
    """Return a GPU by model, count and MIG partition. With `shared`, other tasks may use the card at the same time.

    Raises:
        SpecError: no machine has so many cards of the model, or the model has no such partition.

    >>> GPU("A100", 2, "1g.5gb").request
    GPURequest(count=2, family='nvidia', model='A100', partition='1g.5gb', shared=False)
    >>> GPU("A10", 1, "1g.5gb")
    Traceback (most recent call last):
    flyte_images_runtime.errors.SpecError: the NVIDIA A10 cannot be partitioned: `1g.5gb`
    """
    if device is None:
        request = GPURequest(count=_count(quantity, None), shared=shared)
        if partition is not None:
            raise SpecError(
                f"partition `{partition}` without a model", hint=f'name the model: GPU("A100", 1, "{partition}")'
            )
        return Device(None, quantity, None, request)
    if not isinstance(device, str):
        raise SpecError(f"GPU({device!r}) does not name a model", hint='GPU("A10G", 1), or GPU(quantity=1) for any')
    name, suffix_shared = _split_shared(str(device))
    request = _request(name, quantity, partition=partition, shared=shared or suffix_shared)
    return Device(str(device), quantity, partition, request)


def AMD_GPU(device: str, quantity: int = 1) -> Device:  # noqa: N802
    """Return an AMD Instinct card by model: `AMD_GPU("MI300X", 2)` or `AMD_GPU("MI300X:2")`.

    >>> str(AMD_GPU("MI300X", 2).request)
    '2 x AMD MI300X'
    """
    name, colon, number = device.partition(":") if isinstance(device, str) else (device, "", "")
    model = find_model(name) if isinstance(name, str) else None
    if model is None or model.family != "amd":
        names = ", ".join(name for name, row in MODELS.items() if row.family == "amd")
        raise SpecError(f"AMD_GPU({name!r}) does not name an AMD model", hint=f"the models are {names}")
    if colon and not number.isdecimal():
        raise SpecError(f"`{device}` does not end in a number", hint=f'AMD_GPU("{model.name}", 1)')
    request = _request(model.name, int(number) if colon else quantity, written=device if colon else None)
    return Device(device, request.count, None, request)


def parse_gpu(value: object) -> GPURequest | None:
    """Return the request that `gpu=` stands for; None for 0.

    >>> parse_gpu("A10G:2") == parse_gpu(GPU("A10G", 2))
    True
    >>> parse_gpu("T4 shared").shared, parse_gpu("1") == parse_gpu(1), parse_gpu(0)
    (True, True, None)
    >>> parse_gpu("A10G:9")
    Traceback (most recent call last):
    flyte_images_runtime.errors.SpecError: no machine has 9 NVIDIA A10G: `A10G:9`
    """
    hint = 'a number (gpu=1), a model (gpu="A10G"), both (gpu="A10G:2") or gpu=GPU("A100", 1, "1g.5gb")'
    if isinstance(value, Device):
        return value.request
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise SpecError(f"gpu={value!r} is neither a number of GPUs nor a model", hint=hint)
    if isinstance(value, int) or value.isdecimal():
        count = _count(int(value), value, zero=True)
        return GPURequest(count=count) if count else None
    name, colon, number = value.rpartition(":")
    if not colon:
        name, number = value, "1"
    if not number.isdecimal():
        raise SpecError(f"`{value}` does not end in a number of GPUs", hint=hint)
    name, shared = _split_shared(name)
    if not colon and find_model(name) is None and not re.search(r"[0-9]", name):
        raise SpecError(
            f"gpu={value!r} is neither a number of GPUs nor a model", hint=did_you_mean(name.upper(), MODELS) or hint
        )
    return _request(name, int(number), shared=shared, written=value)


def parse_accelerator(value: object) -> GPURequest:
    """Return the request that `accelerator=` stands for: one device of that model.

    >>> parse_accelerator(GPUAccelerator.NVIDIA_L4) == parse_accelerator("nvidia-l4") == parse_accelerator("L4")
    True
    """
    request = None if isinstance(value, (int, float)) else parse_gpu(value)
    if request is None or request.model is None:
        raise SpecError(
            f"accelerator={value!r} does not name a model",
            hint='accelerator=GPUAccelerator.NVIDIA_A10G, or any other by text: accelerator="RTX 4090"',
        )
    return request


def combine(gpu: object, accelerator: object) -> GPURequest | None:
    """Return the request of `gpu=` and `accelerator=` together: the count of one, the model of the other.

    >>> str(combine("2", GPUAccelerator.NVIDIA_T4))
    '2 x NVIDIA T4'
    >>> combine("T4:1", GPUAccelerator.NVIDIA_A10G)
    Traceback (most recent call last):
    flyte_images_runtime.errors.SpecError: gpu=`T4:1` and accelerator=`A10G` name two models
    """
    request = None if gpu is None else parse_gpu(gpu)
    if accelerator is None:
        return request
    device = parse_accelerator(accelerator)
    if gpu is None:
        return device
    if request is None:
        raise SpecError(
            f"gpu={gpu!r} asks for none and accelerator={_quoted(accelerator)} for one", hint="leave out one of the two"
        )
    if request.model is None:
        return _with_count(device, request, gpu)
    same_model = (request.family, request.model) == (device.family, device.model)
    if not same_model or device.partition not in (None, request.partition):
        raise SpecError(
            f"gpu={_quoted(gpu)} and accelerator={_quoted(accelerator)} name two models",
            hint="leave out one of the two",
        )
    return request


def _with_count(device: GPURequest, counted: GPURequest, written: object) -> GPURequest:
    """Return the request for the device of `accelerator=` in the number of `gpu=`."""
    count, model = counted.count, MODELS.get(device.model or "")
    if model is not None and count > model.most:
        raise SpecError(f"no machine has {count} {model.title}: {_quoted(written)}", hint=f"at most {model.most}")
    return GPURequest(
        count=count,
        family=device.family,
        model=device.model,
        partition=device.partition,
        shared=device.shared or counted.shared,
    )


def _request(
    name: str, quantity: int, *, partition: str | None = None, shared: bool = False, written: str | None = None
) -> GPURequest:
    model = find_model(name)
    if model is None:
        if not _TEXT.fullmatch(name) or not re.search(r"[A-Za-z]", name):
            raise SpecError(
                f"`{written or name}` is not a model", hint=did_you_mean(name.upper(), MODELS) or 'for example "A10G:1"'
            )
        if partition is not None and not _PROFILE.fullmatch(partition):
            raise SpecError(f"`{partition}` is not a MIG partition", hint='for example "1g.10gb"')
        return GPURequest(count=_count(quantity, written), model=name, partition=partition, shared=shared)
    count = _count(quantity, written)
    if partition is None and count > model.most:
        raise SpecError(f"no machine has {count} {model.title}: `{written or name}`", hint=f"at most {model.most}")
    _check_partition(model, partition)
    if shared and count > 1:
        raise SpecError(f"{count} shared {model.title}: a task can have one shared GPU", hint=f'"{name} shared:1"')
    return GPURequest(count=count, family=model.family, model=model.name, partition=partition, shared=shared)


def _check_partition(model: Model, partition: str | None) -> None:
    if partition is None:
        return
    if not model.partitions:
        raise SpecError(f"the {model.title} cannot be partitioned: `{partition}`", hint="leave the partition out")
    if partition not in model.partitions:
        raise SpecError(
            f"`{partition}` is not a partition of the {model.title}",
            hint="the partitions are " + ", ".join(model.partitions),
        )


def _count(quantity: object, written: object, *, zero: bool = False) -> int:
    source = written if written is not None else quantity
    if isinstance(quantity, bool) or not isinstance(quantity, int):
        raise SpecError(f"{source!r} is not a number of GPUs", hint="a whole number: 1")
    if quantity < (0 if zero else 1):
        raise SpecError(f"`{source}` asks for {quantity} GPUs", hint="ask for one or more, or leave it out")
    if quantity > MOST:
        raise SpecError(f"no machine has {quantity} GPUs: `{source}`", hint="a task runs on one machine")
    return quantity


def _split_shared(name: str) -> tuple[str, bool]:
    bare = _SHARED.sub("", name.strip())
    return bare, bare != name.strip()


def _quoted(value: object) -> str:
    return f"`{value.request}`" if isinstance(value, Device) else f"`{value}`"
