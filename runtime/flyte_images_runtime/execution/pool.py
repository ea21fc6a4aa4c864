"""The warm containers of this process: taken for a call, given back after it, ended when idle for long or used up."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from .warm import WarmContainer

_LOOK = 0.2  # seconds between two checks that the call is still wanted


@dataclass(slots=True)
class _Shelf:
    """The containers of one kind: the idle ones, and the number of all."""

    idle: list[WarmContainer] = field(default_factory=list)
    count: int = 0
    idle_ttl: float = 60.0


class Pool:
    """All warm containers of this process."""

    def __init__(self) -> None:
        self._guard = threading.Condition()
        self._shelves: dict[Hashable, _Shelf] = {}
        self._owner = os.getpid()
        self._sweeper: threading.Thread | None = None
        atexit.register(self.close)

    @contextlib.contextmanager
    def take(
        self,
        key: Hashable,
        start: Callable[[], WarmContainer],
        *,
        replicas: int,
        idle_ttl: float,
        max_calls: int,
        check: Callable[[], object] = lambda: None,
    ) -> Iterator[WarmContainer]:
        """Give a container of one kind: an idle one, else a new one, else, with `replicas` in use, the next idle one.

        `check` is called while the call waits, and ends the waiting by an exception.
        """
        while (container := self._idle_or_room(key, replicas, check)) is not None and not container.is_clean():
            self._end(key, container)
        if container is None:
            try:
                container = start()
            except BaseException:
                self._gone(key)
                raise
        try:
            yield container
        except BaseException:
            self._end(key, container)
            raise
        if not container.alive or container.calls >= max_calls or idle_ttl <= 0:
            self._end(key, container)
            return
        container.idle_since = time.monotonic()
        with self._guard:
            shelf = self._shelves[key]
            shelf.idle_ttl = idle_ttl
            shelf.idle.append(container)
            if self._sweeper is None:
                self._sweeper = threading.Thread(target=self._sweep, daemon=True)
                self._sweeper.start()
            self._guard.notify()

    def _idle_or_room(self, key: Hashable, replicas: int, check: Callable[[], object]) -> WarmContainer | None:
        with self._guard:
            while True:
                shelf = self._shelves.setdefault(key, _Shelf())
                while shelf.idle:
                    container = shelf.idle.pop()  # the one used last, so that the others reach their idle time
                    if container.alive:
                        return container
                    container.close()
                    shelf.count -= 1
                if shelf.count < replicas:
                    shelf.count += 1
                    return None
                self._guard.wait(_LOOK)
                check()

    def _end(self, key: Hashable, container: WarmContainer) -> None:
        try:
            container.close()
        finally:
            self._gone(key)

    def _gone(self, key: Hashable) -> None:
        with self._guard:
            self._shelves[key].count -= 1
            self._guard.notify()

    def _sweep(self) -> None:
        """End containers that have been idle for their time. Runs as long as there are idle containers."""
        while True:
            with self._guard:
                waiting = [shelf.idle_ttl for shelf in self._shelves.values() if shelf.idle]
                if not waiting:
                    self._sweeper = None
                    return
            time.sleep(max(0.05, min(waiting) / 4))
            for container in self._take_old():
                container.close()

    def _take_old(self) -> list[WarmContainer]:
        old: list[WarmContainer] = []
        now = time.monotonic()
        with self._guard:
            for shelf in self._shelves.values():
                fresh = [one for one in shelf.idle if one.alive and now - one.idle_since < shelf.idle_ttl]
                old += [one for one in shelf.idle if one not in fresh]
                shelf.count -= len(shelf.idle) - len(fresh)
                shelf.idle = fresh
        return old

    def close(self) -> None:
        """End all idle containers."""
        if os.getpid() != self._owner:
            return
        with self._guard:
            waiting = [container for shelf in self._shelves.values() for container in shelf.idle]
            for shelf in self._shelves.values():
                shelf.count -= len(shelf.idle)
                shelf.idle = []
        threads = [threading.Thread(target=container.close) for container in waiting]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
