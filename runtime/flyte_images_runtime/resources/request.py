"""Resources: the most that a task may use, as the user writes it; checked where it is written. Pure.

A single value is a limit: a hard upper bound. A pair is (request, limit), as in Kubernetes: the limit holds on this
machine, the request is for a scheduler of other machines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeVar

from ..errors import SpecError
from .accelerators import Device, GPUAccelerator, combine
from .limits import Limits
from .quantity import format_size, parse_cpu, parse_size

SMALLEST_MEMORY: Final = 6 << 20  # with less, no engine starts a container

CPU = int | float | str | Decimal
Size = int | str
_V = TypeVar("_V", int, Decimal)


@dataclass(frozen=True, slots=True, init=False)
class Resources:
    """The most that a task may use. `mem` and `memory` are two names of one limit; omitted limits are not set.

    cpu     cores: 2, 0.5, "500m"; or (request, limit)
    memory  size: "16Gi", "500M", bytes; or (request, limit)
    gpu     number, model or both: 1, "A10G", "A10G:2", GPU("A100", 1, "1g.5gb")
    disk    size of the task's disk: results, /tmp, and with the oci engine writes to the root file system; by default
            16 GiB, with /tmp in memory
    shm     size of /dev/shm, or "auto": as much as the memory limit

    Raises:
        SpecError: a value that no limit can have; `hint` says what to write.

    >>> Resources(cpu="2", mem="8Gi", gpu="1").limits("A10G")  # doctest: +NORMALIZE_WHITESPACE
    Limits(cpu=Decimal('2'), memory=8589934592, shm=None, disk=None,
           gpu=GPURequest(count=1, family='nvidia', model='A10G', partition=None, shared=False))
    >>> Resources(cpu=(1, "1500m"), memory=("1Gi", "2Gi")).limits().cpu
    Decimal('1.5')
    >>> Resources(cpu=(4, 1))
    Traceback (most recent call last):
    flyte_images_runtime.errors.SpecError: cpu=(4, 1): the request is more than the limit
    """

    cpu: CPU | tuple[CPU, CPU] | None
    memory: Size | tuple[Size, Size] | None
    gpu: int | str | Device | None
    disk: Size | None
    shm: Size | None

    def __init__(
        self,
        cpu: CPU | tuple[CPU, CPU] | None = None,
        memory: Size | tuple[Size, Size] | None = None,
        gpu: int | str | Device | None = None,
        disk: Size | None = None,
        shm: Size | None = None,
        *,
        mem: Size | tuple[Size, Size] | None = None,
    ) -> None:
        if memory is not None and mem is not None:
            raise SpecError(
                f"mem={mem!r} and memory={memory!r} are two names of one thing", hint="leave out one of the two"
            )
        memory = mem if memory is None else memory
        values = {"cpu": cpu, "memory": memory, "gpu": gpu, "disk": disk, "shm": shm}
        for field, value in values.items():
            object.__setattr__(self, field, tuple(value) if isinstance(value, list) else value)
        self.limits()  # raises here, where the user writes the values

    @property
    def mem(self) -> Size | tuple[Size, Size] | None:
        """The limit `memory` under its second name."""
        return self.memory

    def limits(self, accelerator: GPUAccelerator | Device | str | None = None) -> Limits:
        """Return the upper bounds in the kernel's units, for a task on `accelerator`."""
        cpu, memory = _limit(self.cpu, "cpu", parse_cpu), _limit(self.memory, "memory", _memory_size)
        disk = None if self.disk is None else parse_size(self.disk, name="disk")
        return Limits(cpu=cpu, memory=memory, shm=self._shm(memory), disk=disk, gpu=combine(self.gpu, accelerator))

    def _shm(self, memory: int | None) -> int | None:
        if self.shm is None or self.shm == "auto":  # as much as the memory limit, since pages of /dev/shm are memory
            return None
        size = parse_size(self.shm, name="shm")
        if memory is not None and size > memory:
            raise SpecError(
                f"shm={self.shm!r} is more than memory={self.memory!r}, although files in /dev/shm count as memory",
                hint=f'raise memory, or write shm="auto" for all of it ({format_size(memory)})',
            )
        return size


def _memory_size(value: object) -> int:
    return parse_size(value, name="memory", smallest=SMALLEST_MEMORY)


def _limit(written: object, name: str, parse: Callable[[object], _V]) -> _V | None:
    """Return the limit of a value, or of a pair (request, limit)."""
    if written is None:
        return None
    if not isinstance(written, tuple):
        return parse(written)
    if len(written) != 2:
        raise SpecError(
            f"{name}={written!r} has {len(written)} values",
            hint=f"one value, the limit, or two: {name}=(request, limit)",
        )
    request, limit = parse(written[0]), parse(written[1])
    if request > limit:
        raise SpecError(
            f"{name}={written!r}: the request is more than the limit", hint=f"{name}=({written[1]!r}, {written[0]!r})"
        )
    return limit
