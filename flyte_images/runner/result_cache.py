"""The result cache: results of earlier runs, for tasks with cache="auto".

The key of a result covers everything that decides the result: the image, the source trees by content, the function,
its arguments by content, the environment variables, and the sources and targets of mounts. Limits, time-outs and
secrets are not part of the key.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from flyte_images_runtime.system.atomic import partial_directory, private_directory
from flyte_images_runtime.task.spec import TaskSpec
from flyte_images_runtime.values import Files, Problem
from flyte_images_runtime.values.sparse import copy_range

from ..store import json_cache
from ..store.bounded_dir import BoundedDirectory, Entry
from ..store.cache_dir import cache_dir

_FORMAT = "flyte-images result 1"
_UNUSED = 30 * 86400.0  # seconds without use after which a result is removed
LARGEST = 5 << 30  # bytes of all results; the least recently used beyond that are removed
_RESULT = "result.json"


def cache_key(spec: TaskSpec, image: str, arguments: Any, attachments: Path) -> str:
    """Return the key of a call: `arguments` is their JSON form, `attachments` has their files, `image` is a digest."""
    state = hashlib.sha256()

    def add(*parts: object) -> None:
        text = json.dumps(parts, sort_keys=True).encode()
        state.update(len(text).to_bytes(8) + text)

    add(_FORMAT, image, spec.code.module, spec.code.qualname, [Path(copy).name for copy in spec.code.copies])
    add(None if spec.code.value is None else hashlib.sha256(spec.code.value).hexdigest())
    add(sorted(spec.env), sorted((mount.source, mount.target) for mount in spec.mounts), spec.workdir, arguments)
    for path in sorted(attachments.iterdir()):
        if path.is_file():
            add(path.name, _digest(path))
    return state.hexdigest()


class ResultCache:
    """The results below `directory`."""

    def __init__(self, directory: Path, *, largest: int = LARGEST) -> None:
        self._entries = BoundedDirectory(path=directory, unused=_UNUSED, largest=largest)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> ResultCache:
        """Return the results below the cache directory that the variables name."""
        return cls(cache_dir(environ) / "results")

    def find(self, key: str) -> tuple[Any, Files] | None:
        """Return the JSON form and the files of a result; None if there is no such result. Remove a damaged one."""
        entry = self._entries.path / key
        try:
            document = json_cache.load(entry / _RESULT)
            if document["key"] != key or any(
                _digest(entry / name) != digest for name, digest in document["files"].items()
            ):
                raise ValueError(f"`{entry}` is damaged")
            os.utime(entry)
            return document["result"], Files(str(entry), str(entry))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            self._entries.remove(Entry(key, (entry,), 0.0, 0))
            return None

    def store(self, key: str, result: Any, files: Files) -> None:
        """Store a result and the files that its value was made from.

        A result that cannot be stored is ignored: the task does not fail because of it.
        """
        with contextlib.suppress(OSError, Problem):  # a full disk: the next call runs the task again
            private_directory(self._entries.path)
            with partial_directory(self._entries.path) as partial:
                for name in sorted(files.opened):  # other files that the task left are not part of its result
                    with files.open(name) as source, _new(partial / name) as target:
                        size = os.fstat(source.fileno()).st_size
                        copy_range(source.fileno(), target.fileno(), size)
                        target.truncate(size)
                digests = {path.name: _digest(path) for path in partial.iterdir()}
                json_cache.save(partial / _RESULT, {"key": key, "result": result, "files": digests})
                partial.rename(self._entries.path / key)  # fails if another process has stored the same result
        self._entries.evict()


def _new(path: Path) -> BinaryIO:
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
