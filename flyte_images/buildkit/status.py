"""BuildKit's status messages -> events."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.timestamp_pb2 import Timestamp

from .events import Event, Vertex, VertexLog, VertexStatus, VertexWarning
from .pb import control_pb2


def events_of(response: control_pb2.StatusResponse) -> Iterator[Event]:
    """Yield the events of one message: vertices first, because the other events refer to vertices."""
    for vertex in response.vertexes:
        yield Vertex(
            digest=vertex.digest,
            name=vertex.name,
            inputs=tuple(vertex.inputs),
            started=_seconds(vertex.started) if vertex.HasField("started") else None,
            completed=_seconds(vertex.completed) if vertex.HasField("completed") else None,
            cached=vertex.cached,
            error=vertex.error,
            group_id=vertex.progress_group.id,
            group_name=vertex.progress_group.name,
        )
    for status in response.statuses:
        yield VertexStatus(
            vertex=status.vertex,
            id=status.id,
            name=status.name,
            current=status.current,
            total=status.total,
            started=_seconds(status.started) if status.HasField("started") else None,
            completed=_seconds(status.completed) if status.HasField("completed") else None,
        )
    for log in response.logs:
        yield VertexLog(vertex=log.vertex, stream=log.stream, data=log.msg)
    for warning in response.warnings:
        yield VertexWarning(
            vertex=warning.vertex,
            short=warning.short,
            level=warning.level,
            detail=tuple(warning.detail),
            url=warning.url,
        )


def _seconds(time: Timestamp) -> float:
    return time.seconds + time.nanos / 1e9
