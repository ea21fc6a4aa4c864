"""The nerdctl engine: containerd without Docker."""

from __future__ import annotations

from .engine import NerdctlEngine
from .program import Nerdctl

__all__ = ["Nerdctl", "NerdctlEngine"]
