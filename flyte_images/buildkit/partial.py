"""Files that are being written: each has a name of its own until it is whole, and none outlives its process long."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

_PREFIX = ".flyte-images-partial-"


@contextlib.contextmanager
def partial(directory: Path) -> Iterator[Path]:
    """A path in `directory` to write to and to rename; what is still there at the end is removed.

    What a process that was killed has left there is removed first.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for left in directory.glob(f"{_PREFIX}*"):
        if not Path(f"/proc/{left.name.removeprefix(_PREFIX).split('-')[0]}").exists():
            left.unlink(missing_ok=True)
    path = directory / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
