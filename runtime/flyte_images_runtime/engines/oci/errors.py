"""A message of an OCI runtime -> the error of the task, with a remedy. Pure."""

from __future__ import annotations

from ...errors import EngineLost, ImageCannotStart, TaskError
from ...task.spec import TaskSpec
from ..preflight import why_the_image


def why_not(said: str, spec: TaskSpec) -> TaskError:
    """Return the error for a container that did not start."""
    if "root network namespace" in said:  # gVisor takes every network of a new kernel for the host's
        return EngineLost(
            f"`{spec.hardening.runtime}` cannot give task `{spec.task}` a separate network: {said}",
            task=spec.task,
            hint='network="none" or "host"; or a newer runsc',
        )
    return why_the_image(said, spec) or ImageCannotStart(
        f"the container of {spec.image} could not be started: {said}", task=spec.task
    )
