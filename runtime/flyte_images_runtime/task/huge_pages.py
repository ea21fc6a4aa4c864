"""A file system in memory whose large files lie in large pages: a gigabyte is written in a fifth of the time.

It is mounted nowhere (floating.py).
"""

from __future__ import annotations

import os

from ..system.floating_mounts import NODEV, NOEXEC, NOSUID, FloatingMount, make_floating

_POLICY = "within_size"  # a large page for what is known to fill one: a small file has a small page


def make_large_pages(name: str) -> FloatingMount | None:
    """Make such a file system with a directory `name`; None where this process or this kernel cannot."""
    if os.geteuid() != 0:
        return None
    try:
        return make_floating("tmpfs", name, {"huge": _POLICY, "mode": "711"}, NOSUID | NODEV | NOEXEC)
    except OSError:
        return None
