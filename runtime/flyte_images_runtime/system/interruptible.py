"""Work in threads that ends at once when its caller is interrupted or one part fails.

A thread that waits for a socket or a program hears of no signal: only the main thread does. Each such wait says here
how it is ended (`ending`), and the caller waits in a way that a signal interrupts (`together`): what waits is ended,
and a thread that does not come back, in a look-up of a host's name, is left behind and keeps no process alive.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_Result = TypeVar("_Result")
_GRACE = 2.0  # seconds in which threads that were stopped may clean up


class Stopped(Exception):
    """The work was stopped, since its caller was interrupted or another part of it failed."""


class Work:
    """What one caller has others do; `stop` ends all of it, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._endings: list[Callable[[], object]] = []
        self.is_stopped = False

    def stop(self) -> None:
        with self._lock:
            self.is_stopped = True
            endings, self._endings = self._endings, []
        for end in endings:
            with contextlib.suppress(OSError):
                end()

    @contextlib.contextmanager
    def ending(self, end: Callable[[], object]) -> Iterator[None]:
        """While this lasts, `stop` calls `end`. Raise Stopped if it was called before."""
        with self._lock:
            if self.is_stopped:
                raise Stopped
            self._endings.append(end)
        try:
            yield
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._endings.remove(end)


_ALL = Work()
_CURRENT: contextvars.ContextVar[Work] = contextvars.ContextVar("work", default=_ALL)
atexit.register(_ALL.stop)  # a thread that nobody waits for leaves no program behind


def ending(end: Callable[[], object]) -> contextlib.AbstractContextManager[None]:
    """While this lasts, `end` is called when the work of this thread is stopped."""
    return _CURRENT.get().ending(end)


def together(parts: Sequence[Callable[[], _Result]], at_once: int) -> list[_Result]:
    """Return what the parts return, `at_once` of them at a time; the first that fails ends the others and is raised.

    Any exception in the calling thread, Ctrl-C above all, ends all of them.
    """
    from queue import SimpleQueue  # a build that changes nothing needs none

    todo, done = SimpleQueue[int](), SimpleQueue[tuple[int, _Result | None, BaseException | None]]()
    for number in range(len(parts)):
        todo.put(number)
    work = Work()

    def loop() -> None:
        _CURRENT.set(work)
        while not work.is_stopped and not todo.empty():
            with contextlib.suppress(Exception):  # another thread has taken the last one
                number = todo.get_nowait()
                try:
                    done.put((number, parts[number](), None))
                except BaseException as error:
                    done.put((number, None, error))

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(loop,), name="flyte-images-work", daemon=True)
        for _ in range(min(len(parts), at_once))
    ]
    results: dict[int, _Result | None] = {}
    with ending(work.stop):
        try:
            for thread in threads:
                thread.start()
            while len(results) < len(parts):
                number, result, error = done.get()
                if error is not None:
                    raise error
                results[number] = result
        except BaseException:
            work.stop()
            _await(threads)
            raise
    return [results[number] for number in range(len(parts))]  # type: ignore[misc]  # each has one


def _await(threads: Sequence[threading.Thread]) -> None:
    until = time.monotonic() + _GRACE
    for thread in threads:
        if thread.ident is not None:
            thread.join(max(until - time.monotonic(), 0))
