"""One solve: send the request, deliver the events while the engine builds, and return the result or raise the error."""

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
"""Seconds without progress after which a build that waits for a server is canceled. Commands may take longer."""

_NO_EVENTS = 0.3  # seconds for the last events if none has come: the engine refused before it had a job to watch


@dataclass(frozen=True, slots=True)
class SolveResult:
    """The answers of the exporters, such as `containerimage.digest`."""

    exporter_response: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def digest(self) -> str | None:
        """The digest of the image's manifest; None if no image was made."""
        return self.exporter_response.get("containerimage.digest")


class _End:
    """Marks in the queue that the solve, or its stream of events, has ended."""


class Solving:
    """One solve. `run` passes the events to `on_event` in the calling thread and returns or raises at the end.

    `alive` raises EngineError if the engine does not answer; it is called after `patience` seconds without an event.
    `reason` returns the connection's report of why it was lost.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        request: SolveRequest,
        *,
        timeout: float | None,
        alive: Callable[[], None],
        patience: float,
        engine: str,
        reason: Callable[[], str],
        stall: float = STALL,
    ) -> None:
        self._channel, self._request, self._timeout = channel, request, timeout
        self._alive, self._patience, self._engine, self._reason = alive, patience, engine, reason
        self._queue: queue.SimpleQueue[StatusResponse | _End] = queue.SimpleQueue()
        self._stall = stall
        self._tails: dict[str, Tail] = {}
        self._vertices: dict[str, Vertex] = {}
        self._open: dict[tuple[str, str], None] = {}  # vertex, and name of a transfer that runs in the vertex

    def run(self, on_event: Callable[[Event], None] | None) -> SolveResult:
        """Send the request and wait for the end. Raises BuildError, StepError or EngineError."""
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
        with contextlib.suppress(grpc.RpcError):  # an error of the build also ends Solve, which reports the error
            for response in status:
                self._queue.put(response)
        self._queue.put(_WATCHED)

    def _watch(self, on_event: Callable[[Event], None] | None) -> None:
        """Deliver events until the solve has ended and its last events have come, or `_GRACE` is over."""
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
                        f"no progress for {self._stall:g} s: {awaited}",
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
        """Keep the parts of an event that an error message may show."""
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
        """Return what the build waits for, if every running step waits for a server; otherwise ""."""
        from . import definition_index

        sources, works = definition_index.sources_and_works(self._request.definition)
        waits = []
        for vertex in self._vertices.values():
            if vertex.started is None or vertex.completed is not None:
                continue
            transfers = [id for digest, id in self._open if digest == vertex.digest]
            pushes = [id for id in transfers if id.startswith("pushing ")]
            is_import = vertex.name.startswith("importing ")
            if vertex.digest in works or not (vertex.digest in sources or pushes or is_import):
                return ""
            waits.append(": ".join((vertex.name, *(pushes or transfers)[-1:])))
            if pushes:
                waits += [f"to {it.attrs['name']}" for it in self._request.exporters if it.attrs.get("push")]
        return " ".join(waits)

    def _explain(self, error: grpc.RpcError) -> FlyteImagesError:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and self._timeout:
            return BuildError(f"the build did not end within {self._timeout:g} s", hint="give it more time")
        failure = build_error(error, self._engine, reason=self._reason)
        if not isinstance(failure, StepError):
            return failure
        from . import definition_index  # only a failure needs the names of the steps

        step = definition_index.find(self._request.definition, failure.vertex)
        log = self._tails.get(failure.vertex)
        vertex = self._vertices.get(failure.vertex)
        name = (vertex.name if vertex else "") or (step.name if step else "")
        return StepError(
            f"{name}: {failure}" if name else str(failure),
            vertex=failure.vertex,
            exit_status=failure.exit_status,
            hint=failure.hint,
            location=failure.location or (step.location if step else None),
            command=shlex.join(step.argv) if step and step.argv else None,
            log=log.text() if log else "",
        )


_SOLVED, _WATCHED = _End(), _End()
