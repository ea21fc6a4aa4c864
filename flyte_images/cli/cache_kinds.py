"""The kinds of things below the cache directory -> their entries: size, last use, and what each is about."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ..store import json_cache
from ..store.blobs import bases_in, manifest_of, packed_in, remove_unnamed
from ..store.bounded_dir import BoundedDirectory, Entry, size_of
from ..store.cache_dir import cache_dir

_NAMED = 4  # packages of a resolved set that are named


class Kind(Protocol):
    """One kind of thing that is kept."""

    def entries(self) -> list[Entry]:
        """Return all entries, the last used first."""

    def remove(self, entry: Entry) -> bool:
        """Remove an entry. Return False if the entry is in use."""


def local_kinds() -> dict[str, Kind]:
    """Return the kinds that live below the cache directory, by name."""
    from ..runner.artifacts import artifacts_in
    from ..runner.bundle_cache import bundles_in
    from ..runner.run_logs import logs_in

    place = cache_dir(os.environ)
    logs = replace(logs_in(place / "logs"), about=_task)
    return {
        "bases": Packed(replace(bases_in(place), about=_base), place),
        "code": bundles_in(place / "code"),
        "context": BoundedDirectory(path=place / "context"),
        "files": artifacts_in(place / "files"),
        "layers": Packed(packed_in(place), place),
        "logs": logs,
        "resolved": BoundedDirectory(path=place / "resolved", about=_packages),
        "results": BoundedDirectory(path=place / "results"),
        "rootfs": Unpacked(place / "rootfs"),
    }


class Packed:
    """Entries whose blobs go with them."""

    def __init__(self, records: BoundedDirectory, cache: Path) -> None:
        self._records, self._cache = records, cache

    def entries(self) -> list[Entry]:
        """Return the records. Blobs that several records name count once."""
        counted: set[str] = set()
        entries = []
        for entry in self._records.entries():
            manifest = manifest_of(entry.paths[0])
            entries.append(replace(entry, size=0) if manifest in counted else entry)
            counted.add(manifest)
        return entries

    def remove(self, entry: Entry) -> bool:
        removed = self._records.remove(entry)
        remove_unnamed(self._cache)
        return removed


class Unpacked:
    """Images that the engine `oci` has found or unpacked. None goes while a task of this user runs on that engine."""

    def __init__(self, store: Path) -> None:
        self._records = BoundedDirectory(
            path=store,
            entry_of=lambda name: name if name.endswith(".json") and not name.startswith(".") else None,
            claim=lambda _: _no_task_runs(),
            measure=lambda paths: sum(size_of([layer]) for path in paths for layer in _layers(path, store)),
            about=lambda paths: str(_json(paths[0]).get("identity") or ""),
        )

    def entries(self) -> list[Entry]:
        return self._records.entries()

    def remove(self, entry: Entry) -> bool:
        from flyte_images_runtime.oci.images import Images

        with _no_task_runs() as is_free:
            if is_free:
                Images(self._records.path).forget(entry.paths[0])
            return is_free


@contextlib.contextmanager
def _no_task_runs() -> Iterator[bool]:
    from flyte_images_runtime.execution.running_tasks import active

    yield not any(task.engine == "oci" for task in active())


def _layers(record: Path, store: Path) -> list[Path]:
    """Return the unpacked layers of an image that are in the store; the engine's own directories are not counted."""
    paths = [Path(str(layer)) for layer in _json(record).get("layers") or ()]
    return [path for path in paths if path.is_relative_to(store)]


def _task(paths: Sequence[Path]) -> str:
    """Return the task of a run log, which its first line names."""
    with contextlib.suppress(OSError, ValueError, AttributeError, StopIteration), min(paths).open("rb") as file:
        return str(json.loads(next(file)).get("task") or "")
    return ""


def _base(paths: Sequence[Path]) -> str:
    content = _document(paths[0])
    if not isinstance(content, dict):
        return ""
    return str((content.get("found") or {}).get("description") or f"debian {content.get('suite')}")


def _packages(paths: Sequence[Path]) -> str:
    """Return the packages of a resolved set.

    >>> _names([{"name": "six"}, {"wheels": [{"name": "numpy"}]}, "other"])
    ['six', 'numpy']
    """
    names = list(dict.fromkeys(_names(_document(paths[0]))))
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _names(content: Any) -> list[str]:
    if isinstance(content, dict):
        if isinstance(content.get("name"), str):
            return [content["name"]]
        return [name for value in content.values() for name in _names(value)]
    if isinstance(content, list):
        return [name for value in content for name in _names(value)]
    return []


def _document(path: Path) -> Any:
    try:
        return json_cache.load(path)
    except (OSError, ValueError):
        return None


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}
