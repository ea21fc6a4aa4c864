"""The settings of this machine that steps receive, as secrets: no layer, log or cache key contains them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from flyte_images_layers.steps import StepLimits
from flyte_images_runtime.task.redaction import Redactor

from ..buildkit.services.secrets import Secret
from ..errors import SpecError
from ..plan.lower import BUNDLE_PATH, limits, secret_id
from ..plan.model import Built, Command, Debs, Plan
from ..plan.network_settings import PROXY_VARIABLES, STEP_CA_VARIABLES
from .ca_bundle import ca_bundle

DEFAULT_LIMITS = StepLimits()


def host_secrets(environ: Mapping[str, str]) -> dict[str, Secret]:
    """Return this machine's CA bundle and proxies, for steps with a network. Logins are not among them."""
    secrets: dict[str, Secret] = {}
    bundle = ca_bundle(environ)
    if bundle:
        secrets["flyte-images-ca-bundle"] = Path(bundle).read_bytes
        secrets |= {f"flyte-images-env-{name}": BUNDLE_PATH.encode() for name in STEP_CA_VARIABLES}
    for name in PROXY_VARIABLES:
        if environ.get(name):
            secrets[f"flyte-images-env-{name}"] = without_login(environ[name]).encode()
    return secrets


def without_login(address: str) -> str:
    """Return the address without user and password.

    >>> without_login("http://me:secret@proxy.test:8080"), without_login("127.0.0.1,localhost")
    ('http://proxy.test:8080', '127.0.0.1,localhost')
    """
    if "@" not in address:
        return address
    if "://" not in address:
        return address.rpartition("@")[2]
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def step_secrets(plan: Plan, environ: Mapping[str, str]) -> dict[str, Secret]:
    """Return the limits of the steps of a plan, and the secrets that its commands use, by id.

    Raise SpecError, with the user's line, if a secret has no value on this machine.
    """
    secrets: dict[str, Secret] = {}
    for step in plan.steps:
        if isinstance(step.body, (Built, Debs)):
            secrets[limits(step).id] = _limits_text(DEFAULT_LIMITS)
        if not isinstance(step.body, Command):
            continue
        secrets[limits(step).id] = _limits_text(step.body.limits)
        for secret in step.body.secrets:
            value = environ.get(secret.variable)
            if value is None:
                raise SpecError(
                    f"there is no value for the secret `{secret.name}`",
                    hint=f"set the environment variable {secret.variable}",
                    location=step.location,
                )
            secrets[secret_id(secret)] = value.encode("utf-8", "surrogateescape")
    return secrets


def _limits_text(limits: StepLimits) -> bytes:
    return f"{limits.memory} {limits.processes} {limits.seconds}".encode()


def redactor_of(plan: Plan, environ: Mapping[str, str]) -> Redactor:
    """Return what removes the secret values of a plan's steps from their output."""
    secrets = (secret for step in plan.steps if isinstance(step.body, Command) for secret in step.body.secrets)
    return Redactor(environ[secret.variable] for secret in secrets if secret.variable in environ)
