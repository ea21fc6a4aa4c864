"""A message of an OCI runtime -> the error of the task, with a remedy. Pure."""

from __future__ import annotations

from ...errors import EngineLost, ImageCannotStart, TaskError
from ...task.spec import TaskSpec
from ..preflight import why_the_image


def why_not(message: str, spec: TaskSpec) -> TaskError:
    """Return the error for a container that did not start."""
    if "root network namespace" in message:  # gVisor takes every network of a new kernel for the host's
        return EngineLost(
            f"`{spec.hardening.runtime}` cannot give task `{spec.task}` a separate network: {message}",
            task=spec.task,
            hint='network="none" or "host"; or a newer runsc',
        )
    return why_the_image(message, spec) or ImageCannotStart(
        f"the container of {spec.image} could not be started: {message}", task=spec.task
    )
