"""The tasks of the calls bench that take arrays; apart, so that the others need not load numpy."""

from __future__ import annotations

import numpy as np

import flyte_images as flyte

from .called import IMAGE

env = flyte.TaskEnvironment(name="large", image=IMAGE, limits=flyte.Resources(cpu="2", mem="6Gi"), network="none")


@env.task
def take(array: np.ndarray) -> int:
    return int(array[:: 1 << 20].sum())


@env.task
def give(size: int) -> np.ndarray:
    return np.ones(size, dtype=np.uint8)
