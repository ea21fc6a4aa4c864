"""A task's options, image and code -> its TaskSpec; and the checks and the proxy that a task needs before it starts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from flyte_images_runtime.task.spec import Code, TaskSpec

from .gpu_lease import check_devices
from .secrets import secret_values

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from flyte_images_runtime.egress.gate import Gate
    from flyte_images_runtime.task.exchange import Exchange

    from ..options import Options
    from .code_bundle import CodeBundles


def check_needs(options: Options, environ: Mapping[str, str]) -> None:
    """Raise SpecError if a secret is missing and DeviceError if a device is, before an image is built in vain."""
    secret_values(options.secrets, environ)
    check_devices(options.limits(), environ)


def make_spec(
    name: str, options: Options, image: str, code: Code, *, bundles: CodeBundles, python: str = "python3"
) -> TaskSpec:
    """Return the specification of a task, or of a shell in the place of a task. Bundle its source trees."""
    copies = tuple(bundles.bundle(root) for root in code.roots)
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


def egress_gate(spec: TaskSpec, exchange: Exchange, environ: Mapping[str, str]) -> AbstractContextManager[Gate | None]:
    """Return the proxy of a task with network=[...], to be open as long as its container; None for another task."""
    if not spec.reaches:
        return contextlib.nullcontext()
    from flyte_images_runtime.egress.gate import Gate

    return Gate(exchange, spec.reaches, environ)
