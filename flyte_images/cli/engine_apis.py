"""A running task -> the API of its engine, if that is Docker's: for what its cgroup does not tell or allow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flyte_images_runtime.engines.docker.api import Api
    from flyte_images_runtime.execution.running_tasks import Active


def api_of(one: Active) -> Api | None:
    """Where its engine answers; None for an engine of another kind, or one that does not answer."""
    if one.engine == "docker":
        from ..errors import EngineError
        from ..runner.engines import Engines

        try:
            return Engines.of(os.environ).docker().api
        except EngineError:
            return None
    if one.engine == "podman":
        from flyte_images_runtime.engines.docker.api import Api
        from flyte_images_runtime.engines.podman.service import find_service

        from ..errors import EngineLost

        try:
            service = find_service(os.environ, user=os.getuid())
            return Api(service.address) if service.answers() else None
        except (EngineLost, OSError):
            return None
    return None
