"""The runtime's words -> the error that says what to do. Pure."""

from __future__ import annotations

from ...failures import ImageCannotStart, TaskError
from ...spec import TaskSpec
from ..checks import why_the_image


def why_not(said: str, spec: TaskSpec) -> TaskError:
    """Why the container did not start."""
    return why_the_image(said, spec) or ImageCannotStart(
        f"the container of {spec.image} could not be started: {said}", task=spec.task
    )
