"""Pass the events of one image's build as changes to the display that all images share."""

from __future__ import annotations

import threading
import time

from ..buildkit.events import Event, Vertex, VertexLog, VertexStatus
from .lines import Display
from .state import BuildState


class ImageProgress:
    """The sink for the events of one image's build: call it with each event, then call `finish`."""

    def __init__(self, name: str, lock: threading.RLock, display: Display, owners: dict[str, ImageProgress]) -> None:
        self.name = name
        self.state = BuildState()
        self._lock, self._display, self._owners = lock, display, owners
        self._finished = False

    def __call__(self, event: Event) -> None:
        with self._lock:
            shared = self._shared(event)
            for change in self.state.apply(event, time.monotonic()):
                if not (shared and change.kind in ("line", "moved")):
                    self._display.change(self.name, self.state, change)

    def finish(self, *, succeeded: bool = False) -> None:
        """End the image: the engine's stream has ended, or the build was given up."""
        with self._lock:
            if self._finished:
                return
            self._finished = True
            for change in self.state.finish(succeeded=succeeded):
                self._display.change(self.name, self.state, change)
            for digest in [digest for digest, owner in self._owners.items() if owner is self]:
                del self._owners[digest]

    def _shared(self, event: Event) -> bool:
        """Return whether another image shows the event already: output or bytes of a step that both wait for."""
        match event:
            case Vertex(digest=digest, started=started) if started is not None:
                self._owners.setdefault(digest, self)
                return False
            case VertexStatus(vertex=digest) | VertexLog(vertex=digest):
                return self._owners.get(digest, self) is not self
            case _:
                return False
