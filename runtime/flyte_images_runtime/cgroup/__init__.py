"""A cgroup of the task's own above its container's: it holds the limits, and can be read after the end.

Needs root on the engine's own host. Elsewhere the worker inside the container reads what it can (worker/supervisor.py).
"""

from __future__ import annotations

from .group import Group, group_names, make_group, remove_group
from .usage import read_usage

__all__ = ["Group", "group_names", "make_group", "read_usage", "remove_group"]
