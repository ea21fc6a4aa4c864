"""A serialized definition -> what a step of it was to do. Asked when something is wrong."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ..errors import Location
from ..llb.pb import ops_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What the graph says of one vertex."""

    name: str
    argv: tuple[str, ...]
    location: Location | None


def find(definition: bytes, digest: str) -> Step | None:
    """The step with this digest, or None where the engine has made it up (exports) or numbers steps otherwise."""
    graph = ops_pb2.Definition.FromString(definition)
    for data in getattr(graph, "def"):
        if f"sha256:{hashlib.sha256(data).hexdigest()}" == digest:
            op = ops_pb2.Op.FromString(data)
            return Step(
                name=graph.metadata[digest].description.get("llb.customname", ""),
                argv=tuple(op.exec.meta.args),
                location=_location(graph, digest),
            )
    return None


def sources_and_works(definition: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """The digests of the steps that fetch something, and of those that do something."""
    found: tuple[set[str], set[str]] = (set(), set())
    for data in getattr(ops_pb2.Definition.FromString(definition), "def"):
        is_work = ops_pb2.Op.FromString(data).WhichOneof("op") != "source"
        found[is_work].add(f"sha256:{hashlib.sha256(data).hexdigest()}")
    return frozenset(found[0]), frozenset(found[1])


def _location(graph: ops_pb2.Definition, digest: str) -> Location | None:
    for location in graph.Source.locations[digest].locations:
        for found in location.ranges:
            return Location(graph.Source.infos[location.sourceIndex].filename, found.start.line)
    return None
