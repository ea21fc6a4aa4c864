"""The CA bundle that this machine's user has named."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..plan.network_settings import CA_VARIABLES


def ca_bundle(environ: Mapping[str, str]) -> str | None:
    """Return the path of the bundle that the first variable of CA_VARIABLES names; None if that is not a file."""
    path = next((environ[name] for name in CA_VARIABLES if environ.get(name)), "")
    return path if os.path.isfile(path) else None  # noqa: PTH113 - a string is wanted
