"""GPUs of this machine: found, chosen, leased among all processes, and named for an engine.

    with allocate(limits.gpu, environ=os.environ, wait=60, note="train") as gpus:
        argv = [f"--device={name}" for name in gpus.devices]

An engine that starts a container keeps the lease with it: `gpus.hold_while(pid of the container)`, and labels the
container with `gpus.uuids`, so that a client that died does not free a card that its container still uses.
"""

from __future__ import annotations

from .allocate import Allocation, allocate, present, search
from .device import Card, Found, describe

__all__ = ["Allocation", "Card", "Found", "allocate", "describe", "present", "search"]
