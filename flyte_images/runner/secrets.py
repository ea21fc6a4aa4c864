"""The values of secrets: read from this process's environment, written where only the one task sees them."""

from __future__ import annotations

import os
import secrets as randomness
from collections.abc import Sequence
from dataclasses import replace

from flyte_images_runtime.task.exchange import Exchange
from flyte_images_runtime.task.redaction import Redactor, redactor_of
from flyte_images_runtime.task.spec import Mount, TaskSpec

from ..errors import SpecError
from ..options import Secret


def values(secrets: Sequence[Secret]) -> dict[Secret, str]:
    """Each secret's value. SpecError for one that has none."""
    found: dict[Secret, str] = {}
    for secret in secrets:
        value = os.environ.get(secret.variable)
        if value is None:
            raise SpecError(
                f"there is no value for the secret `{secret.key}`",
                hint=f"set the variable {secret.variable} before you run the task",
            )
        found[secret] = value
    return found


def redactor(secrets: Sequence[Secret]) -> Redactor:
    """Take the values that there are out of texts."""
    values = (os.environ.get(secret.variable) for secret in secrets)
    return redactor_of(tuple(value for value in values if value is not None))


def exposed(spec: TaskSpec, secrets: Sequence[Secret], exchange: Exchange) -> tuple[TaskSpec, dict[str, str]]:
    """Write the values into the exchange: in memory, below a directory that is the caller's alone.

    Returns the specification with the mounts of those that are files, and for the others the files by variable.
    """
    variables: dict[str, str] = {}
    mounts: list[Mount] = []
    for secret, value in values(secrets).items():
        name = f"secret-{randomness.token_hex(8)}"
        path = exchange.inputs / name
        path.write_text(value, encoding="utf-8")
        path.chmod(0o644)
        if secret.mount is not None:
            mounts.append(Mount(source=str(path), target=secret.mount))
        else:
            variables[secret.variable] = name
    return (replace(spec, mounts=(*spec.mounts, *mounts)) if mounts else spec), variables
