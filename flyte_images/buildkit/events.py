"""What BuildKit says while it builds, as frozen values. Imports no grpc, so that progress needs none.

The same vertex is told of many times; the last word counts. `started` without `completed` means running, neither
means known and waiting; it may start again after a cache look-up, and `cached` may come late. Times are the engine's
clock, in seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertex:
    """One step of the graph and its state now. Steps with the same `group_id` are one thing to the user."""

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
    """Progress inside a step: bytes of one transfer, one blob written. `total` is 0 when unknown."""

    vertex: str
    id: str
    name: str = ""
    current: int = 0
    total: int = 0
    started: float | None = None
    completed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexLog:
    """Raw output of a step, stream 1 or 2; it may end in the middle of a line or of a character."""

    vertex: str
    stream: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexWarning:
    """A remark of the engine about a step."""

    vertex: str
    short: bytes
    level: int = 0
    detail: tuple[bytes, ...] = ()
    url: str = ""


Event = Vertex | VertexStatus | VertexLog | VertexWarning
