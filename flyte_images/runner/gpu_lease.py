"""The accelerators of one task: leased before it starts, named to its engine, given back at its end."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from flyte_images_runtime.engines.docker.container import DEVICES
from flyte_images_runtime.task.spec import TaskSpec

from .engines import image_store

if TYPE_CHECKING:
    from flyte_images_runtime.gpu import Allocation, Card
    from flyte_images_runtime.resources.limits import Limits
    from flyte_images_runtime.task.engine import Running


class Lease:
    """The task's specification with its devices, and the hold on them."""

    def __init__(self, spec: TaskSpec, allocation: Allocation | None) -> None:
        self.spec = spec
        self._allocation = allocation

    @property
    def cards(self) -> tuple[Card, ...]:
        """The cards that it holds."""
        return self._allocation.cards if self._allocation is not None else ()

    def started(self, running: Running) -> None:
        """The container runs: it keeps its devices even if this process dies before it."""
        if self._allocation is not None and (pid := running.pid()) is not None:
            self._allocation.hold_while(pid)


def expect(limits: Limits) -> None:
    """DeviceError if this machine lacks what is asked for, whoever has it now: said before an image is built for it."""
    if limits.gpu is not None:
        from flyte_images_runtime.gpu import present

        present(limits.gpu, environ=os.environ)


@contextlib.contextmanager
def leased(spec: TaskSpec, *, wait: float) -> Iterator[Lease]:
    """Lease what the task's limits ask for. DeviceError says why that cannot be and what is there."""
    if spec.limits.gpu is None:
        yield Lease(spec, None)
        return
    from flyte_images_runtime.gpu import allocate

    with allocate(spec.limits.gpu, environ=os.environ, wait=wait, note=spec.task, held=_held) as allocation:
        yield Lease(replace(spec, devices=allocation.devices, device_ids=allocation.uuids), allocation)


def _held() -> list[str]:
    """The devices of containers that run, by their label: their callers may be gone."""
    found = image_store().api.call("GET", "/containers/json", filters=json.dumps({"label": [DEVICES]}))
    return [
        uuid for container in found for uuid in str(container.get("Labels", {}).get(DEVICES, "")).split(",") if uuid
    ]
