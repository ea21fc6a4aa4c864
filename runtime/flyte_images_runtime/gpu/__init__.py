"""The GPUs of this machine: find, choose, lease among all processes, and name for an engine.

    with allocate(limits.gpu, environ=os.environ, wait=60, note="train") as gpus:
        argv = [f"--device={name}" for name in gpus.devices]

An engine that starts a container keeps the lease while the container runs, `gpus.hold_while(pid of the container)`, and
labels the container with `gpus.uuids`: if the client dies first, no other task gets a card that the container uses.
"""

from __future__ import annotations

from .allocate import Allocation, allocate, present, search
from .device import Card, Inventory, describe

__all__ = ["Allocation", "Card", "Inventory", "allocate", "describe", "present", "search"]
