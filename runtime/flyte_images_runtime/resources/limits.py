"""Limits: what a task is held to, in the kernel's units. A value without behaviour; Resources makes it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .accelerators import GPURequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Hard upper bounds. None: not limited by this task.

    cpu     cores
    memory  bytes; swap comes on top of it for nobody
    shm     bytes of /dev/shm, which count as memory; None: as much as the memory limit
    disk    bytes that the task may write to its disk: results, and /tmp, which then is not memory; None: results
            and what it writes to its root take 16 GiB at most, /tmp is memory
    gpu     what is leased to the task
    """

    cpu: Decimal | None = None
    memory: int | None = None
    shm: int | None = None
    disk: int | None = None
    gpu: GPURequest | None = None
