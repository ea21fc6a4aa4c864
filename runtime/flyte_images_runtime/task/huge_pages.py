"""A file system in memory whose large files use huge pages: a gigabyte is written in a fifth of the time.

It has no mount point (system/floating_mounts.py).
"""

from __future__ import annotations

import os

from ..system.floating_mounts import NODEV, NOEXEC, NOSUID, FloatingMount, make_floating

_POLICY = "within_size"  # a huge page only where the file's size fills it: a small file has small pages


def make_huge_pages(name: str) -> FloatingMount | None:
    """Make such a file system with a directory `name`; return None where this process or this kernel cannot."""
    if os.geteuid() != 0:
        return None
    try:
        return make_floating("tmpfs", name, {"huge": _POLICY, "mode": "711"}, NOSUID | NODEV | NOEXEC)
    except OSError:
        return None
