"""Results of earlier runs, for tasks with cache="auto": what was run on what, with which code -> what came out.

The key is everything that decides a result: the image, the source trees by content, the function, its arguments by
content, the environment variables and the mounts' places. Limits, time-outs and secrets are no part of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flyte_images_runtime.spec import TaskSpec
from flyte_images_runtime.values import Files, Problem

from .store.cache_dir import cache_dir

_FORMAT = "flyte-images result 1"
_UNUSED = 30 * 86400.0  # seconds after which a result that nobody asked for goes
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
            with path.open("rb") as file:
                add(path.name, hashlib.file_digest(file, "sha256").hexdigest())
    return state.hexdigest()


class Results:
    """The results that are kept below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Results:
        return cls(cache_dir(environ) / "results")

    def find(self, key: str) -> tuple[Any, Files] | None:
        """The result's JSON form and its files, if it is there as a whole."""
        place = self._directory / key
        try:
            result = json.loads((place / _RESULT).read_text(encoding="utf-8"))["result"]
            os.utime(place)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return result, Files(str(place), str(place))

    def keep(self, key: str, result: Any, files: Files) -> None:
        """Keep a result and the files that belong to it. That it cannot be kept is no failure of the task."""
        place = self._directory / key
        temporary = self._directory / f".{key[:16]}.{secrets.token_hex(4)}"
        try:
            temporary.mkdir(parents=True)
            for name in sorted(_attachments(result)):
                with contextlib.suppress(Problem), files.open(name) as source, (temporary / name).open("xb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
            (temporary / _RESULT).write_text(json.dumps({"result": result}), encoding="utf-8")
            with contextlib.suppress(OSError):  # another process was as quick
                temporary.rename(place)
        except OSError:
            pass  # a full disk: the next run will do the work again
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._forget_old()

    def _forget_old(self) -> None:
        limit = time.time() - _UNUSED
        with contextlib.suppress(OSError):
            for place in self._directory.iterdir():
                if place.stat().st_mtime < limit:
                    shutil.rmtree(place, ignore_errors=True)


def _attachments(result: Any) -> set[str]:
    """The names of files in a JSON form: each is a value of an object. A text that only looks like one has no file."""
    found: set[str] = set()
    if isinstance(result, dict):
        found.update(value for value in result.values() if isinstance(value, str) and len(value) < 32)
    for each in result.values() if isinstance(result, dict) else result if isinstance(result, list) else ():
        found |= _attachments(each)
    return found
