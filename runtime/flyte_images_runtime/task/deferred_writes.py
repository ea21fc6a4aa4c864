"""Write large arguments while the container starts. The task's process waits for each file that it needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType

Job = Callable[[], object]


class DeferredWrites:
    """Runs jobs in a thread. The end of the `with` block waits for them, and raises the error of the first that failed.

    `failed` turns an OSError into the error to raise. `on_failure` sets a function that ends the task at once, since a
    task without its arguments can only wait.
    """

    def __init__(self, jobs: Sequence[Job], *, failed: Callable[[OSError], Exception] = lambda error: error) -> None:
        self._jobs = jobs
        self._failed = failed
        self._error: BaseException | None = None
        self._on_failure: Callable[[], object] | None = None
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="flyte-images-late") if jobs else None

    def __enter__(self) -> DeferredWrites:
        if self._thread is not None:
            self._thread.start()
        return self

    def on_failure(self, action: Callable[[], object]) -> None:
        """Call `action` when a job fails; at once if one has failed already."""
        with self._guard:
            self._on_failure = action
            failed = self._error is not None
        if failed:
            action()

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
                self._error, action = error, self._on_failure
            if action is not None:
                action()
