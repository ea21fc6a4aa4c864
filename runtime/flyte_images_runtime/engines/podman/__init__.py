"""The podman engine: Podman, through its Docker-compatible API."""

from __future__ import annotations

from .engine import PodmanEngine
from .service import Service

__all__ = ["PodmanEngine", "Service"]
