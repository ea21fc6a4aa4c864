"""Resources: what a task may use at most, as the user writes it. Refused here if nothing could mean it. Pure.

Every single value is a limit: a hard upper bound. A pair is (request, limit), as in Kubernetes: the limit counts on
this machine, the request is for whoever schedules.
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
    """The most that a task gets. `mem` and `memory` are the same; what is left out is not limited.

    `disk` counts what a task leaves for its caller, /tmp, and with the oci engine what it writes to its root. Left out,
    it is 16 GiB, and /tmp is memory.

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
        self.limits()  # whatever is wrong is told where it is written

    @property
    def mem(self) -> Size | tuple[Size, Size] | None:
        """The other name of `memory`."""
        return self.memory

    def limits(self, accelerator: GPUAccelerator | Device | str | None = None) -> Limits:
        """Return the upper bounds in the kernel's units, for a task on `accelerator`."""
        cpu, memory = self._cpu()[1], self._memory()[1]
        disk = None if self.disk is None else parse_size(self.disk, name="disk")
        return Limits(cpu=cpu, memory=memory, shm=self._shm(memory), disk=disk, gpu=combine(self.gpu, accelerator))

    def requests(self, accelerator: GPUAccelerator | Device | str | None = None) -> Limits:
        """Return what the task needs at least: the first of each pair, else the limit."""
        limits = self.limits(accelerator)
        return Limits(cpu=self._cpu()[0], memory=self._memory()[0], shm=limits.shm, disk=limits.disk, gpu=limits.gpu)

    def _cpu(self) -> tuple[Decimal | None, Decimal | None]:
        return _pair(self.cpu, "cpu", parse_cpu)

    def _memory(self) -> tuple[int | None, int | None]:
        return _pair(self.memory, "memory", _memory_size)

    def _shm(self, memory: int | None) -> int | None:
        if self.shm is None or self.shm == "auto":  # as much as the memory limit: its pages count there anyway
            return None
        size = parse_size(self.shm, name="shm")
        if memory is not None and size > memory:
            raise SpecError(
                f"shm={self.shm!r} is more than memory={self.memory!r}, and what is in it counts as memory",
                hint=f'raise memory, or write shm="auto" for all of it ({format_size(memory)})',
            )
        return size


def _memory_size(value: object) -> int:
    return parse_size(value, name="memory", smallest=SMALLEST_MEMORY)


def _pair(written: object, name: str, parse: Callable[[object], _V]) -> tuple[_V | None, _V | None]:
    """Return (request, limit) of a value, or of a pair of them."""
    if written is None:
        return None, None
    if not isinstance(written, tuple):
        one = parse(written)
        return one, one
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
    return request, limit
