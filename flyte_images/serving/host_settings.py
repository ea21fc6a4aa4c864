"""What steps are given of this machine, as secrets: in no layer, no log and no cache key."""

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

USUAL = StepLimits()


def host_secrets(environ: Mapping[str, str]) -> dict[str, Secret]:
    """This machine's CA bundle and proxies, for steps that have a network. No login of this machine is among them."""
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
    """The address without a user and password.

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
    """The limits of the steps of a plan, and the secrets that its commands ask for.

    Raise SpecError, with the user's line, for a secret that has no value here.
    """
    found: dict[str, Secret] = {}
    for step in plan.steps:
        if isinstance(step.body, (Built, Debs)):
            found[limits(step).id] = _words(USUAL)
        if not isinstance(step.body, Command):
            continue
        found[limits(step).id] = _words(step.body.limits)
        for secret in step.body.secrets:
            value = environ.get(secret.variable)
            if value is None:
                raise SpecError(
                    f"there is no value for the secret `{secret.name}`",
                    hint=f"set the variable {secret.variable} before you build",
                    location=step.location,
                )
            found[secret_id(secret)] = value.encode("utf-8", "surrogateescape")
    return found


def _words(most: StepLimits) -> bytes:
    return f"{most.memory} {most.processes} {most.seconds}".encode()


def redactor_of(plan: Plan, environ: Mapping[str, str]) -> Redactor:
    """What takes the values of the secrets that the steps of a plan see out of what they print."""
    asked = (it for step in plan.steps if isinstance(step.body, Command) for it in step.body.secrets)
    return Redactor(environ[it.variable] for it in asked if it.variable in environ)
