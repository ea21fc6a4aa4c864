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
    from flyte_images_runtime.resources.accelerators import Device as Device
    from flyte_images_runtime.resources.accelerators import GPUAccelerator as GPUAccelerator
    from flyte_images_runtime.resources.metrics import Metrics as Metrics
    from flyte_images_runtime.resources.metrics import Usage as Usage
    from flyte_images_runtime.resources.request import Resources as Resources
    from flyte_images_runtime.task.log import Log as Log
    from flyte_images_runtime.task.spec import Mount as Mount
    from flyte_images_runtime.values import Dir as Dir
    from flyte_images_runtime.values import File as File

    from . import errors
    from .builder import BuildResult as BuildResult
    from .builder import build as build
    from .builder.output_spec import OutputSpec as OutputSpec
    from .environment import TaskEnvironment as TaskEnvironment
    from .errors import Cancelled as Cancelled
    from .errors import DiskFull as DiskFull
    from .errors import EngineLost as EngineLost
    from .errors import FlyteImagesError as FlyteImagesError
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
    from .options import Options as Options
    from .options import RetryStrategy as RetryStrategy
    from .options import ReusePolicy as ReusePolicy
    from .options import Secret as Secret
    from .options import Settings as Settings
    from .progress import Progress as Progress
    from .runner.runner import Run as Run
    from .runner.runner import Runner as Runner
    from .runner.runner import map as map
    from .runner.runner import run as run
    from .task import Task as Task

__version__ = "0.1.0"

_EXPORTS = {
    "BuildResult": "flyte_images.builder",
    "Cancelled": "flyte_images.errors",
    "Device": "flyte_images_runtime.resources.accelerators",
    "Dir": "flyte_images_runtime.values",
    "DiskFull": "flyte_images.errors",
    "EngineLost": "flyte_images.errors",
    "File": "flyte_images_runtime.values",
    "FlyteImagesError": "flyte_images.errors",
    "GPU": "flyte_images_runtime.resources.accelerators",
    "GPUAccelerator": "flyte_images_runtime.resources.accelerators",
    "Image": "flyte_images.image",
    "ImageCannotStart": "flyte_images.errors",
    "InvalidArgument": "flyte_images.errors",
    "InvalidResult": "flyte_images.errors",
    "Killed": "flyte_images.errors",
    "Log": "flyte_images_runtime.task.log",
    "Metrics": "flyte_images_runtime.resources.metrics",
    "Mount": "flyte_images_runtime.task.spec",
    "NotSerialisable": "flyte_images.errors",
    "NotSerializable": "flyte_images.errors",
    "Options": "flyte_images.options",
    "OutOfMemory": "flyte_images.errors",
    "OutputSpec": "flyte_images.builder.output_spec",
    "Progress": "flyte_images.progress",
    "Raised": "flyte_images.errors",
    "Resources": "flyte_images_runtime.resources.request",
    "RetryStrategy": "flyte_images.options",
    "ReusePolicy": "flyte_images.options",
    "Run": "flyte_images.runner.runner",
    "Runner": "flyte_images.runner.runner",
    "Secret": "flyte_images.options",
    "Settings": "flyte_images.options",
    "Task": "flyte_images.task",
    "TaskEnvironment": "flyte_images.environment",
    "TaskError": "flyte_images.errors",
    "TimedOut": "flyte_images.errors",
    "Usage": "flyte_images_runtime.resources.metrics",
    "build": "flyte_images.builder",
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
