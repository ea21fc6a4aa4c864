"""Waiting for clocks and for conditions, where a test needs a later time and not a number of seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

_COARSE = 5  # CLOCK_REALTIME_COARSE of Linux, from which file systems take the times of files
_PATIENCE = 120.0


def next_tick() -> None:
    """Return when a file that is written now gets a later time than the files before."""
    now = time.clock_gettime_ns(_COARSE)
    while time.clock_gettime_ns(_COARSE) == now:
        time.sleep(0.001)


def next_second() -> None:
    """Return when the clock shows another second."""
    now = int(time.time())
    while int(time.time()) == now:
        time.sleep(0.01)


def eventually(holds: Callable[[], bool], what: str = "the condition") -> None:
    """Return when `holds` returns True; fail where that takes minutes."""
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come to hold"
        time.sleep(0.02)
