"""The values of a solve -> BuildKit's request, and the directories that this client serves for the request."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import EngineError
from ..store import oci_layout
from .caches import Cache, InlineCache, LocalCache
from .exporters import Archive, Exporter, Files, Layout, Load
from .pb.control_pb2 import SolveRequest, TypedAttrs
from .services.filesend import Target, ToDirectory, ToFile, ToStore

_EXPORT_STORE = "export"  # BuildKit's id for the store of an exporter `oci` with tar=false


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request, with the directories and outputs that its session serves."""

    message: SolveRequest
    stores: Mapping[str, Path]
    targets: Mapping[int, Target]
    layout: Layout | None = None
    caches: tuple[LocalCache, ...] = field(default=())

    def finish(self, response: Mapping[str, str]) -> None:
        """Write the index files of OCI layouts on this machine: BuildKit writes only their blobs."""
        if self.layout is not None:
            descriptor = json.loads(base64.b64decode(response["containerimage.descriptor"]))
            oci_layout.Layout(self.layout.dest).put_name(descriptor, tag=self.layout.tag)
        for cache in self.caches:
            oci_layout.Layout(cache.directory).put_name(json.loads(response["cache.manifest"]), tag=cache.tag)


def solve_request(
    definition: bytes,
    *,
    exporters: Sequence[Exporter],
    cache_imports: Sequence[Cache],
    cache_exports: Sequence[Cache],
    internal: bool,
) -> Prepared:
    """Return BuildKit's request. Reads the index files of caches on this machine, and no other file.

    Raises EngineError for outputs that one solve cannot have.
    """
    message = SolveRequest(definition=definition, internal=internal)
    stores: dict[str, Path] = {}
    targets: dict[int, Target] = {}
    layout = _add_exporters(message, exporters, stores, targets)
    _add_caches(message, cache_imports, cache_exports, stores)
    local = tuple(cache for cache in cache_exports if isinstance(cache, LocalCache))
    return Prepared(message=message, stores=stores, targets=targets, layout=layout, caches=local)


def _add_exporters(
    message: SolveRequest, exporters: Sequence[Exporter], stores: dict[str, Path], targets: dict[int, Target]
) -> Layout | None:
    """Add `exporters` to the request, and their directories to `stores` and `targets`; return the OCI layout."""
    layout = None
    for index, exporter in enumerate(exporters):
        message.exporters.append(TypedAttrs(type=exporter.type, attrs=exporter.attrs()))
        match exporter:
            case Archive(dest=dest) | Files(dest=dest, tar=True):
                targets[index] = ToFile(dest)
            case Files(dest=dest):
                targets[index] = ToDirectory(dest)
            case Load(into=into):
                targets[index] = ToStore(into)
            case Layout(dest=dest):
                if layout is not None:
                    raise EngineError(
                        "BuildKit writes only one OCI layout directory per build", hint="build again for the other one"
                    )
                layout, stores[_EXPORT_STORE] = exporter, dest
    if len(exporters) == 1:  # BuildKit before 0.13 supports a single exporter, in these fields
        message.exporter_deprecated = exporters[0].type
        message.exporter_attrs_deprecated.update(exporters[0].attrs())
    return layout


def _add_caches(
    message: SolveRequest, imports: Sequence[Cache], exports: Sequence[Cache], stores: dict[str, Path]
) -> None:
    """Add caches to the request, and the directories of local caches to `stores`."""
    for cache in imports:
        match cache:
            case LocalCache():
                manifest = oci_layout.Layout(cache.directory).tagged(cache.tag)
                if manifest is not None:  # otherwise nothing has been exported yet: an empty cache
                    stores[f"local:{cache.directory}"] = cache.directory
                    attrs = cache.import_attrs(manifest["digest"])
                    message.cache.imports.append(TypedAttrs(type=cache.type, attrs=attrs))
            case InlineCache():
                raise EngineError("an inline cache is imported as the registry cache of its image")
            case _:
                message.cache.imports.append(TypedAttrs(type=cache.type, attrs=cache.import_attrs()))
    for cache in exports:
        message.cache.exports.append(TypedAttrs(type=cache.type, attrs=cache.export_attrs()))
        if isinstance(cache, LocalCache):
            stores[f"local:{cache.directory}"] = cache.directory
