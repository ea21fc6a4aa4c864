"""A serialized definition -> the names, commands and lines of its steps. Read only when a build fails or stalls."""

from __future__ import annotations

from dataclasses import dataclass

from flyte_images_runtime.system.image_ref import Digest

from ..errors import Location
from ..llb.pb import ops_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The description of one vertex in the graph."""

    name: str
    argv: tuple[str, ...]
    location: Location | None


def find(definition: bytes, digest: str) -> Step | None:
    """Return the step with this digest, or None: the engine itself adds steps (exports), and may number steps."""
    graph = ops_pb2.Definition.FromString(definition)
    for data in getattr(graph, "def"):
        if str(Digest.of(data)) == digest:
            op = ops_pb2.Op.FromString(data)
            return Step(
                name=graph.metadata[digest].description.get("llb.customname", ""),
                argv=tuple(op.exec.meta.args),
                location=_location(graph, digest),
            )
    return None


def sources_and_works(definition: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """Return the digests of the steps that fetch something, and the digests of all other steps."""
    sources: set[str] = set()
    works: set[str] = set()
    for data in getattr(ops_pb2.Definition.FromString(definition), "def"):
        is_source = ops_pb2.Op.FromString(data).WhichOneof("op") == "source"
        (sources if is_source else works).add(str(Digest.of(data)))
    return frozenset(sources), frozenset(works)


def _location(graph: ops_pb2.Definition, digest: str) -> Location | None:
    for location in graph.Source.locations[digest].locations:
        for lines in location.ranges:
            return Location(graph.Source.infos[location.sourceIndex].filename, lines.start.line)
    return None
