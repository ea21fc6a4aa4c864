"""A cgroup of the task's own above its container's: it holds the limits, and can be read after the end.

Needs root on the engine's own host, or a part of version 2 that was given to this user (delegation.py). Elsewhere the
worker inside the container reads what it can (worker/supervisor.py).
"""

from __future__ import annotations

from .group import Group, existing, exists, group_names, make_group, remove_group
from .usage import read_usage

__all__ = ["Group", "existing", "exists", "group_names", "make_group", "read_usage", "remove_group"]
