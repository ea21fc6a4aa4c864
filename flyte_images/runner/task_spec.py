"""What a call needs before it starts: its secrets and devices, its image, and what an engine is told."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from flyte_images_runtime.task.spec import Code, TaskSpec

from .code_bundle import ship
from .engines import image_store
from .gpu_lease import expect
from .secrets import values

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from flyte_images_runtime.egress.gate import Gate
    from flyte_images_runtime.task.exchange import Exchange

    from ..image import Image
    from ..options import Options
    from ..progress import Progress

_READY: dict[str, str] = {}
_BUILDING = threading.Lock()


def ready_image(image: Image, *, progress: Progress | None = None, builder: str | None = None) -> str:
    """The reference of `image` in the engine. An image by name alone is taken as it is if the engine has it."""
    from flyte_images_layers import ReferenceBase

    if not image.layers and isinstance(image.base, ReferenceBase) and image_store().has_image(image.base.reference):
        return image.base.reference
    digest = image.digest
    with _BUILDING:
        if digest not in _READY:
            from ..builder import build

            _READY[digest] = build(image, progress=progress, builder=builder).ref
        return _READY[digest]


def check_needs(options: Options) -> None:
    """Raise what a task would end with for want of a secret or a device: before an image is built for it."""
    values(options.secrets)
    expect(options.limits())


def specification(name: str, options: Options, image: str, code: Code, *, python: str = "python3") -> TaskSpec:
    """What an engine is told: of a task, and of a shell in its place."""
    copies = tuple(ship(root, environ=os.environ)[0] for root in code.roots)
    return TaskSpec(
        task=name,
        image=image,
        code=replace(code, copies=copies),
        limits=options.limits(),
        env=options.env_vars,
        timeout=options.timeout,
        python=python,
        network="none" if isinstance(options.network, tuple) else options.network,
        reaches=options.network if isinstance(options.network, tuple) else (),
        mounts=options.mounts,
        workdir=options.workdir,
        hardening=options.hardening,
        max_result=options.max_result,
    )


def way_out(spec: TaskSpec, exchange: Exchange) -> AbstractContextManager[Gate | None]:
    """The proxy of a task that may reach some names alone, for as long as its container; None for every other task."""
    if not spec.reaches:
        return contextlib.nullcontext()
    from flyte_images_runtime.egress.gate import Gate

    return Gate(exchange, spec.reaches, os.environ)
