"""Results of earlier runs, for tasks with cache="auto": what was run on what, with which code -> what came out.

The key is everything that decides a result: the image, the source trees by content, the function, its arguments by
content, the environment variables and the mounts' places. Limits, time-outs and secrets are no part of it.
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
_UNUSED = 30 * 86400.0  # seconds after which a result that nobody asked for goes
LARGEST = 5 << 30  # bytes of all results; beyond this, the least recently used go
_RESULT = "result.json"


def key_of(spec: TaskSpec, image: str, arguments: Any, attachments: Path) -> str:
    """The key of a call whose arguments have this JSON form, with files in `attachments`. `image` is its digest."""
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


class Results:
    """The results that are kept below `directory`."""

    def __init__(self, directory: Path, *, largest: int = LARGEST) -> None:
        self._kept = BoundedDirectory(path=directory, unused=_UNUSED, largest=largest)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Results:
        return cls(cache_dir(environ) / "results")

    def find(self, key: str) -> tuple[Any, Files] | None:
        """Return the result's JSON form and its files, if all of it is as it was kept. A damaged result is removed."""
        place = self._kept.path / key
        try:
            document = json_cache.load(place / _RESULT)
            if document["key"] != key or any(_digest(place / name) != it for name, it in document["files"].items()):
                raise ValueError(f"`{place}` is damaged")
            os.utime(place)
            return document["result"], Files(str(place), str(place))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            self._kept.remove(Entry(key, (place,), 0.0, 0))
            return None

    def keep(self, key: str, result: Any, files: Files) -> None:
        """Keep a result and the files that its value was made of. That it cannot be kept is no failure of the task."""
        with contextlib.suppress(OSError, Problem):  # a full disk: the next run will do the work again
            private_directory(self._kept.path)
            with partial_directory(self._kept.path) as partial:
                for name in sorted(files.opened):  # what else the task has left is not its result
                    with files.open(name) as source, _new(partial / name) as target:
                        size = os.fstat(source.fileno()).st_size
                        copy_range(source.fileno(), target.fileno(), size)
                        target.truncate(size)
                digests = {path.name: _digest(path) for path in partial.iterdir()}
                json_cache.save(partial / _RESULT, {"key": key, "result": result, "files": digests})
                partial.rename(self._kept.path / key)  # fails where another process was as quick
        self._kept.evict()


def _new(path: Path) -> BinaryIO:
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
