"""The values of secrets: read from the caller's environment variables, written where only the one task sees them."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Mapping, Sequence
from dataclasses import replace

from flyte_images_runtime.task.exchange import Exchange
from flyte_images_runtime.task.redaction import Redactor, redactor_of
from flyte_images_runtime.task.spec import Mount, TaskSpec

from ..errors import SpecError
from ..options import Secret


def secret_values(secrets: Sequence[Secret], environ: Mapping[str, str]) -> dict[Secret, str]:
    """Return the value of each secret. Raise SpecError for a secret whose variable is not set."""
    values: dict[Secret, str] = {}
    for secret in secrets:
        value = environ.get(secret.variable)
        if value is None:
            raise SpecError(
                f"there is no value for the secret `{secret.key}`",
                hint=f"set the variable {secret.variable} before you run the task",
            )
        values[secret] = value
    return values


def redactor(secrets: Sequence[Secret], environ: Mapping[str, str]) -> Redactor:
    """Return the function that removes the values of the secrets from a text."""
    values = (environ.get(secret.variable) for secret in secrets)
    return redactor_of(tuple(value for value in values if value is not None))


def write_secrets(
    spec: TaskSpec, secrets: Sequence[Secret], exchange: Exchange, environ: Mapping[str, str]
) -> tuple[TaskSpec, dict[str, str]]:
    """Write the values into the exchange directory: in memory, below a directory that only the caller can open.

    Return the specification with a mount for each secret that is a file, and for the others the file by variable.
    """
    variables: dict[str, str] = {}
    mounts: list[Mount] = []
    for secret, value in secret_values(secrets, environ).items():
        name = f"secret-{randomness.token_hex(8)}"
        path = exchange.inputs / name
        path.write_text(value, encoding="utf-8")
        path.chmod(0o644)
        if secret.mount is not None:
            mounts.append(Mount(source=str(path), target=secret.mount))
        else:
            variables[secret.variable] = name
    return (replace(spec, mounts=(*spec.mounts, *mounts)) if mounts else spec), variables
