"""The GPUs of one task: leased before the task starts, named to its engine, released at its end."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from flyte_images_runtime.engines.docker.container import DEVICES
from flyte_images_runtime.task.spec import TaskSpec

if TYPE_CHECKING:
    from flyte_images_runtime.gpu import Allocation, Card
    from flyte_images_runtime.resources.limits import Limits
    from flyte_images_runtime.task.engine import Running

    from .engines import Engines


class DeviceLease:
    """The specification of a task with its devices, and the lease of the devices."""

    def __init__(self, spec: TaskSpec, allocation: Allocation | None) -> None:
        self.spec = spec
        self._allocation = allocation

    @property
    def cards(self) -> tuple[Card, ...]:
        """The leased GPUs."""
        return self._allocation.cards if self._allocation is not None else ()

    def extend_to(self, running: Running) -> None:
        """Hold the devices until the container ends, even if this process ends before the container."""
        if self._allocation is not None and (pid := running.pid()) is not None:
            self._allocation.hold_while(pid)


def check_devices(limits: Limits, environ: Mapping[str, str]) -> None:
    """Raise DeviceError if this machine lacks a device that the limits ask for. A device in use is not missing."""
    if limits.gpu is not None:
        from flyte_images_runtime.gpu import present

        present(limits.gpu, environ=environ)


@contextlib.contextmanager
def lease_devices(
    spec: TaskSpec, *, wait: float, engines: Engines, environ: Mapping[str, str]
) -> Iterator[DeviceLease]:
    """Lease the devices that the task's limits ask for; wait up to `wait` seconds for those in use.

    Raise DeviceError with the devices of this machine if the request cannot be met.
    """
    if spec.limits.gpu is None:
        yield DeviceLease(spec, None)
        return
    from flyte_images_runtime.gpu import allocate

    held = partial(_devices_of_containers, engines)
    with allocate(spec.limits.gpu, environ=environ, wait=wait, note=spec.task, held=held) as allocation:
        yield DeviceLease(replace(spec, devices=allocation.devices, device_ids=allocation.uuids), allocation)


def _devices_of_containers(engines: Engines) -> list[str]:
    """Return the devices of running containers, by the containers' labels: their callers may have ended."""
    filters = json.dumps({"label": [DEVICES]})
    containers = engines.image_store().api.call("GET", "/containers/json", filters=filters)
    return [
        uuid
        for container in containers
        for uuid in str(container.get("Labels", {}).get(DEVICES, "")).split(",")
        if uuid
    ]
