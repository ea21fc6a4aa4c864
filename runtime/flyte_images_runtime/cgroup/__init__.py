"""A cgroup for each task, above the container's cgroup: it has the limits, and can be read after the task's end.

To make one takes root on the engine's host, or a delegated part of cgroup version 2 (delegation.py). Elsewhere the
worker inside the container reads the container's own files (worker/cgroup_files.py).
"""

from __future__ import annotations

from .group import Group, exists, group_names, group_of, make_group, remove_group
from .usage import read_usage

__all__ = ["Group", "exists", "group_names", "group_of", "make_group", "read_usage", "remove_group"]
