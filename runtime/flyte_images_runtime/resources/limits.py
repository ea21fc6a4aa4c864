"""Limits: the upper bounds of a task in the kernel's units. A value without behavior; Resources makes it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .accelerators import GPURequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Hard upper bounds. None means that the task does not set the bound.

    cpu     cores
    memory  bytes; a task gets no swap beyond them
    shm     bytes of /dev/shm, which count as memory; None: as much as the memory limit
    disk    bytes that the task may write to its disk: results, and /tmp, which is then on the disk; None: results and
            writes to the root file system take 16 GiB at most, and /tmp is in memory
    gpu     the devices that are leased to the task
    """

    cpu: Decimal | None = None
    memory: int | None = None
    shm: int | None = None
    disk: int | None = None
    gpu: GPURequest | None = None
