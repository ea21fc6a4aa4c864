"""Source files -> byte code beside them, since a container that cannot write there would compile each file every time.

The byte code is of this Python's version. Images with another version compile the files themselves.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_HEAD = 16  # bytes: magic number, flags, time and size of the source


def compile_beside(files: Iterable[Path]) -> int:
    """Compile the files whose byte code is missing or older; return how many were compiled.

    Skip files that cannot be compiled, and those whose byte code cannot be written.
    """
    count = 0
    for file in files:
        with contextlib.suppress(OSError, ValueError, NotImplementedError):
            target = Path(importlib.util.cache_from_source(str(file)))
            if not _is_of(target, file.stat()):
                import py_compile

                py_compile.compile(str(file), cfile=str(target), quiet=2)
                count += 1
    return count


def compile_package(directory: Path, parts: Iterable[str] = ("",)) -> int:
    """Compile the modules of a package, or of the subpackages `parts`; return how many were compiled."""
    count = 0
    for part in parts:
        with contextlib.suppress(OSError):
            count += compile_beside((directory / part).glob("*.py"))
    return count


def loaded_below(root: str) -> list[str]:
    """Return the source files of this process's modules below `root`, as paths relative to `root`."""
    start = root.rstrip("/") + "/"
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    paths = {file for file in files if isinstance(file, str) and file.startswith(start) and file.endswith(".py")}
    return sorted(path[len(start) :] for path in paths)


def _is_of(target: Path, source: os.stat_result) -> bool:
    try:
        with target.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head == b"".join(
        (
            importlib.util.MAGIC_NUMBER,
            bytes(4),
            (int(source.st_mtime) & 0xFFFF_FFFF).to_bytes(4, "little"),
            (source.st_size & 0xFFFF_FFFF).to_bytes(4, "little"),
        )
    )
