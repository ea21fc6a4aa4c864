"""The docker engine: Docker Engine, over its socket."""

from __future__ import annotations

from .engine import DockerEngine

__all__ = ["DockerEngine"]
