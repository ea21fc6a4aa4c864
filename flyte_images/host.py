"""What steps with a network are given of this machine's settings, as secrets: in no layer, no log and no cache key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .buildkit.services.secrets import Secret
from .lower import BUNDLE_PATH, BUNDLE_VARIABLES, INDEX_VARIABLES, PROXY_VARIABLES


def host_secrets(environ: Mapping[str, str]) -> dict[str, Secret]:
    """This machine's CA bundle, proxies and indexes, for steps that have a network."""
    secrets: dict[str, Secret] = {}
    bundle = environ.get("SSL_CERT_FILE") or environ.get("PIP_CERT") or environ.get("REQUESTS_CA_BUNDLE")
    if bundle and Path(bundle).is_file():
        secrets["flyte-images-ca-bundle"] = Path(bundle).read_bytes
        secrets |= {f"flyte-images-env-{name}": BUNDLE_PATH.encode() for name in BUNDLE_VARIABLES}
    for name in (*PROXY_VARIABLES, *INDEX_VARIABLES):
        if environ.get(name):
            secrets[f"flyte-images-env-{name}"] = environ[name].encode()
    return secrets
