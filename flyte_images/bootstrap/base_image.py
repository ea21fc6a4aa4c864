"""BaseImage: the exact image that a base was found to be. A value with a JSON form (`asdict`); pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flyte_images_layers import decoration
from flyte_images_layers.record import record


@record(kw_only=True)
class BaseImage:
    """An image to build on, known by its manifest (or index) digest.

    `origin` names where BuildKit reads the image: `layout` (the OCI layout in the user's cache directory,
    served to BuildKit), `engine` (the engine's own store; no registry is asked) or `registry`. `reference` is the name
    of the image in that place: `local/debian-bookworm@sha256:...`, or a name with tag and digest. `python` is X.Y, and
    `python_path` the absolute path of that Python in the image; `libc` is glibc's version, as in `2.36`; each is empty
    where unknown. `config` is the image configuration, JSON. `description` is a line for people.
    """

    origin: str = decoration("", compare=True)
    reference: str = decoration("", compare=True)
    digest: str
    python: str = ""
    python_path: str = ""
    libc: str = ""
    config: str = decoration("", compare=True)  # the digest covers the configuration
    description: str = decoration("")

    @property
    def configuration(self) -> Mapping[str, Any]:
        """The image configuration."""
        configuration: Mapping[str, Any] = json.loads(self.config)
        return configuration

    @property
    def settings(self) -> Mapping[str, Any]:
        """The `config` object of the image configuration (Env, WorkingDir, User, ...)."""
        settings: Mapping[str, Any] = self.configuration.get("config") or {}
        return settings
