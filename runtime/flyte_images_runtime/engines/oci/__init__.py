"""The oci engine: crun or runc without a daemon."""

from __future__ import annotations

from .engine import OciEngine

__all__ = ["OciEngine"]
