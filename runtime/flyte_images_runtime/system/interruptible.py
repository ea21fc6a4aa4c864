"""Work in threads that ends at once when its caller is interrupted or one part fails.

Only the main thread receives signals: a thread that waits for a socket or a program does not. Each such wait registers
how to end the wait (`ending`), and the caller waits in a way that a signal interrupts (`together`). A thread that does
not return, such as one that looks up a host's name, is left behind; it keeps no process alive.
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
_GRACE = 2.0  # seconds that stopped threads have to clean up


class Stopped(Exception):
    """The work was stopped, because its caller was interrupted or another part of the work failed."""


class Work:
    """The work of one caller in all its threads; `stop` ends it, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._endings: list[Callable[[], object]] = []
        self.is_stopped = False

    def stop(self) -> None:
        """End all waits of the work, from any thread. Later ones raise Stopped."""
        with self._lock:
            self.is_stopped = True
            endings, self._endings = self._endings, []
        for end in endings:
            with contextlib.suppress(OSError):
                end()

    @contextlib.contextmanager
    def ending(self, end: Callable[[], object]) -> Iterator[None]:
        """In the `with` block, let `stop` call `end`. Raise Stopped if the work is stopped already."""
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
atexit.register(_ALL.stop)  # a daemon thread leaves no program running when this process exits


def ending(end: Callable[[], object]) -> contextlib.AbstractContextManager[None]:
    """In the `with` block, let a stop of this thread's work call `end`."""
    return _CURRENT.get().ending(end)


def together(parts: Sequence[Callable[[], _Result]], at_once: int) -> list[_Result]:
    """Call the parts in threads, `at_once` of them at a time; return their results in order.

    The first error of a part ends the other parts and is raised. Any exception in the calling thread, Ctrl-C above all,
    ends all parts.
    """
    from queue import SimpleQueue  # a build that changes nothing needs no queue

    todo, done = SimpleQueue[int](), SimpleQueue[tuple[int, _Result | None, BaseException | None]]()
    for number in range(len(parts)):
        todo.put(number)
    work = Work()

    def loop() -> None:
        _CURRENT.set(work)
        while not work.is_stopped and not todo.empty():
            with contextlib.suppress(Exception):  # another thread has taken the last number
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
    return [results[number] for number in range(len(parts))]  # type: ignore[misc]  # each part has a result


def _await(threads: Sequence[threading.Thread]) -> None:
    until = time.monotonic() + _GRACE
    for thread in threads:
        if thread.ident is not None:
            thread.join(max(until - time.monotonic(), 0))
