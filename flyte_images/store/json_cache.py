"""What was resolved before, in the user's cache directory: so that the same image is the same image until upgraded."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .cache_dir import cache_dir


def read(environ: Mapping[str, str], kind: str, key: str) -> Any:
    """The kept value of that key, or None. One that is damaged is as good as none: it is found again."""
    try:
        return json.loads(_path(environ, kind, key).read_bytes())
    except (OSError, ValueError):
        return None


def write(environ: Mapping[str, str], kind: str, key: str, value: object) -> None:
    """Keep a value. A cache that cannot be written only costs the time to find it again."""
    path = _path(environ, kind, key)
    temporary = path.with_name(f".partial-{os.getpid()}-{os.urandom(4).hex()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(json.dumps(value, sort_keys=True), encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _path(environ: Mapping[str, str], kind: str, key: str) -> Path:
    return cache_dir(environ) / "resolved" / f"{kind}-{key.removeprefix('sha256:')[:40]}.json"
