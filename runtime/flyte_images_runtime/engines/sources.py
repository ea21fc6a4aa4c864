"""What of this machine a task mounts must be there: an engine may make an empty directory of it, or say it badly."""

from __future__ import annotations

from pathlib import Path

from ..failures import EngineLost
from ..spec import TaskSpec


def check_sources(spec: TaskSpec) -> None:
    """Raise EngineLost for a mount of what does not exist."""
    for one in spec.mounts:
        if not Path(one.source).exists():
            raise EngineLost(f"mount `{one.source}` does not exist", task=spec.task, hint="make it, or leave it out")
