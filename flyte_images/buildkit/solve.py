"""One solve: the request, the events while it runs, and its end, whatever it is."""

from __future__ import annotations

import contextlib
import queue
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import grpc

from ..errors import BuildError, FlyteImagesError
from .events import Event, Vertex, VertexLog, VertexStatus
from .failure import StepError, build_error
from .pb.control_pb2 import SolveRequest, StatusRequest, StatusResponse
from .rpc import SOLVE, STATUS
from .status import events_of
from .tail import Tail

_GRACE = 5.0  # seconds for the last events after the end
STALL = 600.0
"""Seconds without any progress after which a build that waits for some server is given up. Commands may take longer."""

_NO_EVENTS = 0.3  # the same where there was no event at all: the engine refused before there was a job to watch


@dataclass(frozen=True, slots=True)
class SolveResult:
    """What the exporters answered: `containerimage.digest` and the like."""

    exporter_response: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def digest(self) -> str | None:
        """The digest of the image's manifest, where an image was made."""
        return self.exporter_response.get("containerimage.digest")


class _End:
    """Put into the queue when the solve, or its stream of events, is over."""


class Solving:
    """A running solve. `run` gives the events to `on_event` in the calling thread and returns or raises at the end."""

    def __init__(
        self,
        channel: grpc.Channel,
        request: SolveRequest,
        *,
        timeout: float | None,
        alive: Callable[[], None],
        patience: float,
        engine: str,
        said: Callable[[], str],
        stall: float = STALL,
    ) -> None:
        self._channel, self._request, self._timeout = channel, request, timeout
        self._alive, self._patience, self._engine, self._said = alive, patience, engine, said
        self._queue: queue.SimpleQueue[StatusResponse | _End] = queue.SimpleQueue()
        self._stall = stall
        self._tails: dict[str, Tail] = {}
        self._vertices: dict[str, Vertex] = {}
        self._open: dict[tuple[str, str], None] = {}  # vertex and name of what is under way in it

    def run(self, on_event: Callable[[Event], None] | None) -> SolveResult:
        call = SOLVE.future(self._channel, self._request, timeout=self._timeout)
        status = STATUS.stream(self._channel, StatusRequest(ref=self._request.ref), timeout=None)
        reader = threading.Thread(target=self._read, args=(status,), name="flyte-images-status", daemon=True)
        reader.start()
        call.add_done_callback(lambda _: self._queue.put(_SOLVED))
        try:
            self._watch(on_event)
            response = call.result()
        except grpc.RpcError as error:
            raise self._explain(error) from None
        finally:
            call.cancel()
            status.cancel()
            reader.join()
        return SolveResult(MappingProxyType(dict(response.exporter_response)))

    def _read(self, status: grpc._CallIterator[StatusResponse]) -> None:
        with contextlib.suppress(grpc.RpcError):  # what ends a build ends Solve too, and that is where it is told
            for response in status:
                self._queue.put(response)
        self._queue.put(_WATCHED)

    def _watch(self, on_event: Callable[[Event], None] | None) -> None:
        """Deliver events until the solve is over and its events have come, or have been waited for long enough."""
        solved = watched = False
        heard = time.monotonic()
        while not (solved and watched):
            try:
                item = self._queue.get(timeout=(_GRACE if self._vertices else _NO_EVENTS) if solved else self._patience)
            except queue.Empty:
                if solved:
                    return
                self._alive()
                if time.monotonic() - heard > self._stall and (awaited := self._awaited()):
                    raise BuildError(
                        f"nothing has moved for {self._stall:g} s: {awaited}",
                        hint="does the server answer? Build again when it does: finished steps are kept",
                    ) from None
                continue
            heard = time.monotonic()
            if isinstance(item, StatusResponse):
                for event in events_of(item):
                    self._note(event)
                    if on_event is not None:
                        on_event(event)
            elif item is _SOLVED:
                solved = True
            else:
                watched = True

    def _note(self, event: Event) -> None:
        """Keep what an error will want to show."""
        if isinstance(event, Vertex):
            self._vertices[event.digest] = event
        elif isinstance(event, VertexStatus):
            if event.completed is None:
                self._open[event.vertex, event.id] = None
            else:
                self._open.pop((event.vertex, event.id), None)
        elif isinstance(event, VertexLog):
            self._tails.setdefault(event.vertex, Tail()).feed(event.stream, event.data)

    def _awaited(self) -> str:
        """What is waited for, if all that runs waits for some server."""
        from . import definition_index

        sources, works = definition_index.sources_and_works(self._request.definition)
        found = []
        for vertex in self._vertices.values():
            if vertex.started is None or vertex.completed is not None:
                continue
            under_way = [id for digest, id in self._open if digest == vertex.digest]
            sent = [id for id in under_way if id.startswith("pushing ")]
            if vertex.digest in works or not (vertex.digest in sources or sent or vertex.name.startswith("importing ")):
                return ""
            found.append(": ".join((vertex.name, *(sent or under_way)[-1:])))
            if sent:
                found += [f"to {it.attrs['name']}" for it in self._request.exporters if it.attrs.get("push")]
        return " ".join(found)

    def _explain(self, error: grpc.RpcError) -> FlyteImagesError:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and self._timeout:
            return BuildError(f"the build did not end within {self._timeout:g} s", hint="give it more time")
        found = build_error(error, self._engine, said=self._said)
        if not isinstance(found, StepError):
            return found
        from . import definition_index  # only a failure has to know what the steps are

        step = definition_index.find(self._request.definition, found.vertex)
        log = self._tails.get(found.vertex)
        known = self._vertices.get(found.vertex)
        name = (known.name if known else "") or (step.name if step else "")
        return StepError(
            f"{name}: {found}" if name else str(found),
            vertex=found.vertex,
            exit_status=found.exit_status,
            hint=found.hint,
            location=found.location or (step.location if step else None),
            command=shlex.join(step.argv) if step and step.argv else None,
            log=log.text() if log else "",
        )


_SOLVED, _WATCHED = _End(), _End()
