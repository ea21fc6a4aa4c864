"""Files that are being written: each has a name of its own until it is whole, and none outlives its process long."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

_PREFIX = ".flyte-images-partial-"


@contextlib.contextmanager
def partial(directory: Path) -> Iterator[Path]:
    """A path in `directory` to write to and to rename; what is still there at the end is removed.

    What a process that was killed has left there is removed first.
    """
    directory.mkdir(parents=True, exist_ok=True)
    remove_left(directory, _PREFIX)
    path = directory / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def remove_left(directory: Path, prefix: str) -> None:
    """Remove what processes that are gone have left in `directory` as `<prefix><process>-...`: files and folders."""
    for left in directory.glob(f"{prefix}*"):
        process = left.name.removeprefix(prefix).partition("-")[0]
        if process.isdigit() and not Path(f"/proc/{process}").exists():
            with contextlib.suppress(OSError):  # someone else's, or another process is at it too
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink(missing_ok=True)
