"""Large arguments are written while the container starts; the task's process waits for those that it needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType

Job = Callable[[], object]


class Late:
    """Does the jobs in a thread of its own. `with` waits for them, and raises what one raised as `failed` says it.

    `ends` is what to do at once when one fails: nobody needs to wait for a task that will not get its arguments.
    """

    def __init__(self, jobs: Sequence[Job], *, failed: Callable[[OSError], Exception] = lambda error: error) -> None:
        self._jobs = jobs
        self._failed = failed
        self._error: BaseException | None = None
        self._ends: Callable[[], object] | None = None
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="flyte-images-late") if jobs else None

    def __enter__(self) -> Late:
        if self._thread is not None:
            self._thread.start()
        return self

    def ends(self, what: Callable[[], object]) -> None:
        """From now on that is done if one fails, or now if one has."""
        with self._guard:
            self._ends = what
            failed = self._error is not None
        if failed:
            what()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._thread is None:
            return
        self._thread.join()
        if self._error is None or not (error is None or isinstance(error, Exception)):
            return
        raise self._failed(self._error) if isinstance(self._error, OSError) else self._error

    def _work(self) -> None:
        try:
            for job in self._jobs:
                job()
        except BaseException as error:
            with self._guard:
                self._error, ends = error, self._ends
            if ends is not None:
                ends()
