"""Podman, through the part of its API that is Docker's."""

from __future__ import annotations

from .engine import PodmanEngine
from .service import Service

__all__ = ["PodmanEngine", "Service"]
