"""Images described in Python, built as a content-addressed BuildKit graph; tasks that run in them under limits.

    import flyte_images as flyte

    image = flyte.Image.from_debian_base().with_pip_packages("pandas")
    env = flyte.TaskEnvironment(name="ml_env", image=image, limits=flyte.Resources(cpu="2", mem="2Gi"))

Nothing heavy is loaded before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flyte_images_runtime.failures import Cancelled as Cancelled
    from flyte_images_runtime.failures import DiskFull as DiskFull
    from flyte_images_runtime.failures import EngineLost as EngineLost
    from flyte_images_runtime.failures import ImageCannotStart as ImageCannotStart
    from flyte_images_runtime.failures import InvalidArgument as InvalidArgument
    from flyte_images_runtime.failures import InvalidResult as InvalidResult
    from flyte_images_runtime.failures import Killed as Killed
    from flyte_images_runtime.failures import NotSerialisable as NotSerialisable
    from flyte_images_runtime.failures import NotSerializable as NotSerializable
    from flyte_images_runtime.failures import OutOfMemory as OutOfMemory
    from flyte_images_runtime.failures import Raised as Raised
    from flyte_images_runtime.failures import TaskError as TaskError
    from flyte_images_runtime.failures import TimedOut as TimedOut
    from flyte_images_runtime.resources.accelerators import GPU as GPU
    from flyte_images_runtime.resources.accelerators import GPUAccelerator as GPUAccelerator
    from flyte_images_runtime.resources.request import Resources as Resources
    from flyte_images_runtime.values import Dir as Dir
    from flyte_images_runtime.values import File as File

    from . import errors
    from .builder import BuildResult as BuildResult
    from .builder import build as build
    from .environment import RetryStrategy as RetryStrategy
    from .environment import ReusePolicy as ReusePolicy
    from .environment import Secret as Secret
    from .environment import TaskEnvironment as TaskEnvironment
    from .image import Image as Image
    from .runner.runner import map as map
    from .runner.runner import run as run

__version__ = "0.1.0"

_EXPORTS = {
    "BuildResult": "flyte_images.builder",
    "Dir": "flyte_images_runtime.values",
    "File": "flyte_images_runtime.values",
    "GPU": "flyte_images_runtime.resources.accelerators",
    "GPUAccelerator": "flyte_images_runtime.resources.accelerators",
    "Image": "flyte_images.image",
    "Resources": "flyte_images_runtime.resources.request",
    "RetryStrategy": "flyte_images.options",
    "ReusePolicy": "flyte_images.options",
    "Secret": "flyte_images.environment",
    "TaskEnvironment": "flyte_images.environment",
    "build": "flyte_images.builder",
    "Cancelled": "flyte_images_runtime.failures",
    "DiskFull": "flyte_images_runtime.failures",
    "EngineLost": "flyte_images_runtime.failures",
    "ImageCannotStart": "flyte_images_runtime.failures",
    "InvalidArgument": "flyte_images_runtime.failures",
    "InvalidResult": "flyte_images_runtime.failures",
    "Killed": "flyte_images_runtime.failures",
    "NotSerialisable": "flyte_images_runtime.failures",
    "NotSerializable": "flyte_images_runtime.failures",
    "OutOfMemory": "flyte_images_runtime.failures",
    "Raised": "flyte_images_runtime.failures",
    "TaskError": "flyte_images_runtime.failures",
    "TimedOut": "flyte_images_runtime.failures",
    "map": "flyte_images.runner.runner",
    "run": "flyte_images.runner.runner",
}

__all__ = [*_EXPORTS, "errors"]


def __getattr__(name: str) -> object:
    import importlib

    if name == "errors":
        return importlib.import_module("flyte_images.errors")
    if name not in _EXPORTS:
        raise AttributeError(f"module `{__name__}` has no `{name}`")
    value: object = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
