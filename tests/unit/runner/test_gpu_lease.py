"""A device that this machine lacks is an error before anything is built."""

from __future__ import annotations

import pytest

import flyte_images as flyte
from flyte_images_runtime.errors import DeviceError

env = flyte.TaskEnvironment(
    name="elsewhere",
    image=flyte.Image.from_base("registry.test/none:1").with_pip_packages("never-asked-for"),
    limits=flyte.Resources(gpu="V5E:1"),
)


@env.task
def nothing() -> None: ...


def test_a_missing_device_is_an_error_before_an_image_is_built() -> None:
    with pytest.raises(DeviceError, match="this machine has no TPU"):
        flyte.run(nothing)
