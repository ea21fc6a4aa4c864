"""The tasks of the calls bench: imported by it, and by the workers in the containers."""

from __future__ import annotations

import time

import flyte_images as flyte

IMAGE = flyte.Image.from_debian_base("3.11", name="bench-calls").with_pip_packages("numpy")
LIMITS = flyte.Resources(cpu="1", mem="512Mi")

fresh = flyte.TaskEnvironment(name="fresh", image=IMAGE, limits=LIMITS, network="none")
warm = flyte.TaskEnvironment(name="warm", image=IMAGE, limits=LIMITS, network="none", reusable=flyte.ReusePolicy())
here = flyte.TaskEnvironment(
    name="here", image=IMAGE, limits=LIMITS, network="none", reusable=flyte.ReusePolicy(fork=False)
)
pair = flyte.TaskEnvironment(
    name="pair", image=IMAGE, limits=LIMITS, network="none", reusable=flyte.ReusePolicy(replicas=2)
)


@fresh.task
def add(a: int, b: int = 1) -> int:
    return a + b


@warm.task
def add_warm(a: int, b: int = 1) -> int:
    return a + b


@here.task
def add_here(a: int, b: int = 1) -> int:
    return a + b


@pair.task
def nap(milliseconds: int) -> int:
    time.sleep(milliseconds / 1000)
    return milliseconds
