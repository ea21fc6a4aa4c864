"""runc or crun without a daemon."""

from __future__ import annotations

from .engine import OciEngine

__all__ = ["OciEngine"]
