"""The task specifications of the last second: a scan of all source files is most of the time of a short call."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable

from flyte_images_runtime.task.spec import TaskSpec

_FRESH = 1.0  # seconds


class SpecCache:
    """Task specifications by key, each for a second."""

    def __init__(self) -> None:
        self._specs: dict[Hashable, tuple[float, TaskSpec]] = {}

    def get(self, key: Hashable, make: Callable[[], TaskSpec]) -> TaskSpec:
        """Return the specification of `key`; call `make` if it is missing or older than a second.

        The specification of a function that goes by value is not kept: the variables of its closure can change from
        call to call.
        """
        key = (os.getpid(), key)  # a fork must register with the reaper of leftovers itself
        now = time.monotonic()
        entry = self._specs.get(key)
        if entry is not None and now - entry[0] < _FRESH:
            return entry[1]
        spec = make()
        if spec.code.value is None:
            self._specs = {other: value for other, value in list(self._specs.items()) if now - value[0] < _FRESH}
            self._specs[key] = (time.monotonic(), spec)
        return spec
