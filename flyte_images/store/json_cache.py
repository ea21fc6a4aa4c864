"""JSON documents in the cache directory, each with a checksum. A document with a wrong checksum counts as missing.

The first line of a file is the SHA-256 of the file's name and of the rest of the file, so a document under another
name is damaged too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flyte_images_runtime.system import atomic

from .cache_dir import cache_dir


def load(path: Path) -> Any:
    """Return the document. Raise OSError if the file cannot be read, ValueError if the document is damaged."""
    checksum, _, body = path.read_bytes().partition(b"\n")
    if checksum != _checksum(path, body):
        raise ValueError(f"`{path}` is damaged: its content does not fit its checksum")
    return json.loads(body)


def save(path: Path, value: object) -> None:
    """Write the document whole or not at all. Raise OSError if the file cannot be written."""
    body = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    atomic.write(path, _checksum(path, body) + b"\n" + body)


def read(environ: Mapping[str, str], kind: str, key: str) -> Any:
    """Return the resolved document of that key, or None. With it, an image keeps its packages until upgraded."""
    try:
        return load(_path(environ, kind, key))
    except (OSError, ValueError):
        return None


def write(environ: Mapping[str, str], kind: str, key: str, value: object) -> None:
    """Keep a resolved document. If the cache cannot be written, the next build resolves again."""
    with contextlib.suppress(OSError):
        save(_path(environ, kind, key), value)


def _checksum(path: Path, body: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + b"\0" + body).hexdigest().encode()


def _path(environ: Mapping[str, str], kind: str, key: str) -> Path:
    return cache_dir(environ) / "resolved" / f"{kind}-{key.removeprefix('sha256:')[:40]}.json"
