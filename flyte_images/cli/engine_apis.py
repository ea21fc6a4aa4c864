"""Find the Docker API of a running task's engine, for usage and signals that its cgroup does not give."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flyte_images_runtime.engines.docker.api import Api
    from flyte_images_runtime.execution.running_tasks import Active


def api_of(task: Active) -> Api | None:
    """Return the API of the task's engine. Return None if the engine has no such API or does not answer."""
    if task.engine == "docker":
        from ..errors import EngineError
        from ..runner.engines import Engines

        try:
            return Engines.of(os.environ).docker().api
        except EngineError:
            return None
    if task.engine == "podman":
        from flyte_images_runtime.engines.docker.api import Api
        from flyte_images_runtime.engines.podman.service import find_service

        from ..errors import EngineLost

        try:
            service = find_service(os.environ, user=os.getuid())
            return Api(service.address) if service.answers() else None
        except (EngineLost, OSError):
            return None
    return None
