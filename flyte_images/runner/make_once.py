"""Objects that are made when they are first needed, and kept by key."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class MakeOnce:
    """Make the object of each key once, whichever thread needs it first.

    >>> once = MakeOnce()
    >>> once("list", list) is once("list", list)
    True
    """

    def __init__(self) -> None:
        self._objects: dict[Hashable, Any] = {}
        self._guard = threading.RLock()  # an object may need another one while it is made

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the object of `key`; call `make` for it if it does not exist yet."""
        if key not in self._objects:
            with self._guard:
                if key not in self._objects:
                    self._objects[key] = make()
        value: T = self._objects[key]
        return value

    def find(self, key: Hashable) -> Any:
        """Return the object of `key`, or None if it does not exist yet."""
        return self._objects.get(key)
