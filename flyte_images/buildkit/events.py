"""BuildKit's messages during a build, as frozen values. Does not import grpc, so that progress does not load grpc.

Several events describe the same vertex; the last one counts. `started` without `completed` means running; neither
means waiting. A vertex may start again after a cache lookup, and `cached` may come late. Times are of the engine's
clock, in seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertex:
    """One step of the graph and its current state. Progress shows steps with the same `group_id` as one."""

    digest: str
    name: str
    inputs: tuple[str, ...] = ()
    started: float | None = None
    completed: float | None = None
    cached: bool = False
    error: str = ""
    group_id: str = ""
    group_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexStatus:
    """Progress inside a step: one transfer, one written blob. `current` and `total` are bytes; 0 is unknown."""

    vertex: str
    id: str
    name: str = ""
    current: int = 0
    total: int = 0
    started: float | None = None
    completed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexLog:
    """Raw output of a step on `stream` 1 or 2; `data` may end in the middle of a line or of a character."""

    vertex: str
    stream: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexWarning:
    """A warning of the engine about a step."""

    vertex: str
    short: bytes
    level: int = 0
    detail: tuple[bytes, ...] = ()
    url: str = ""


Event = Vertex | VertexStatus | VertexLog | VertexWarning
