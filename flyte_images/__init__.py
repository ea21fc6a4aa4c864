"""Images described in Python, built as a content-addressed BuildKit graph; tasks that run in them under limits.

    import flyte_images as flyte

    image = flyte.Image.from_debian_base().with_pip_packages("pandas")
    env = flyte.TaskEnvironment(name="ml_env", image=image, limits=flyte.Resources(cpu="2", mem="2Gi"))

Nothing heavy is loaded before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from .errors import Cancelled as Cancelled
    from .errors import DiskFull as DiskFull
    from .errors import EngineLost as EngineLost
    from .errors import ImageCannotStart as ImageCannotStart
    from .errors import InvalidArgument as InvalidArgument
    from .errors import InvalidResult as InvalidResult
    from .errors import Killed as Killed
    from .errors import NotSerialisable as NotSerialisable
    from .errors import NotSerializable as NotSerializable
    from .errors import OutOfMemory as OutOfMemory
    from .errors import Raised as Raised
    from .errors import TaskError as TaskError
    from .errors import TimedOut as TimedOut
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
    "Cancelled": "flyte_images_runtime.errors",
    "DiskFull": "flyte_images_runtime.errors",
    "EngineLost": "flyte_images_runtime.errors",
    "ImageCannotStart": "flyte_images_runtime.errors",
    "InvalidArgument": "flyte_images_runtime.errors",
    "InvalidResult": "flyte_images_runtime.errors",
    "Killed": "flyte_images_runtime.errors",
    "NotSerialisable": "flyte_images_runtime.errors",
    "NotSerializable": "flyte_images_runtime.errors",
    "OutOfMemory": "flyte_images_runtime.errors",
    "Raised": "flyte_images_runtime.errors",
    "TaskError": "flyte_images_runtime.errors",
    "TimedOut": "flyte_images_runtime.errors",
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
