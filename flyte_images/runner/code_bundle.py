"""The caller's source trees -> copies by content that a task may read, kept for the next run.

A copy is one state of the tree, whatever is edited while the task runs, and can be read by the task's user however
private the original is. Ignore rules are those of images (`.dockerignore`), and what no task needs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from flyte_images_runtime.system.atomic import partial_directory, private_directory
from flyte_images_runtime.task.bytecode import compile_beside, loaded_below

from ..context.file_index import Index
from ..context.fingerprint import Unchanged, remember
from ..context.tree import Entry, Tree, is_known, read, read_all, scan, tree_digest
from ..errors import SpecError
from ..store.cache_dir import cache_dir
from .bundle_cache import being_made, copies_in, hold, is_whole, put_away, seal

LARGEST = 512 << 20
"""Bytes of a source tree; more is data, and belongs into a mount."""

_IGNORE = ("**/venv", "**/node_modules", "**/.ssh", "**/.gnupg", "**/.aws", "**/.cache")
_TRIES = 20
_COMPILED: set[Path] = set()
_SEEN: dict[tuple[str, str, tuple[str, ...]], tuple[Unchanged, str, str]] = {}


def ship(root: str, *, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return a directory with what is in `root` and its content's digest. SpecError if the tree is too large."""
    for _ in range(_TRIES):
        try:
            return _ship(root, environ)
        except _Changed:
            continue
        except SpecError as error:  # editors and other programs make files and remove them: look again
            if not isinstance(error.__context__, FileNotFoundError) or not Path(root).exists():
                raise
    raise SpecError(f"the source tree `{root}` changes while it is read", hint="stop what writes to it, or ignore it")


def _ship(root: str, environ: Mapping[str, str]) -> tuple[str, str]:
    cache = cache_dir(environ)
    patterns = (*_IGNORE, *_only_code(root, environ))
    key = (root, str(cache), patterns)
    seen = _SEEN.get(key)
    if seen is not None and seen[0].holds() and hold(Path(seen[1])):
        return seen[1], seen[2]
    looked_at = time.time_ns()
    index = Index(cache / "context", "\0".join(("code", root, *patterns)))
    tree = scan(root, patterns)
    _check_size(tree, root)
    if not is_known(tree, index):
        read_all(tree, index)
    index.save()
    digest = tree_digest(tree)
    place = cache / "code" / digest.removeprefix("sha256:")
    if place not in _COMPILED or not hold(place):
        with being_made(place.parent):
            is_new = not hold(place) or not is_whole(place)
            if is_new:
                _copy(tree, place, digest)
                hold(place)
            if compile_beside(place / name for name in loaded_below(root)) or is_new:
                seal(place)
        _COMPILED.add(place)
        if is_new:
            copies_in(place.parent).evict()
    unchanged = remember(tree, patterns, looked_at=looked_at, settled=index.has)
    if unchanged is not None:
        _SEEN[key] = (unchanged, str(place), digest)
    return str(place), digest


def _only_code(root: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """For a root that is nobody's project (a home directory, /tmp): its modules that are loaded, and nothing else."""
    shared = {"/", environ.get("HOME", "/"), str(Path.home()), tempfile.gettempdir(), "/tmp", "/var/tmp"}
    if os.path.abspath(root) not in {os.path.abspath(one) for one in shared}:  # noqa: PTH100
        return ()
    loaded = {
        Path(file).relative_to(root).parts[0]
        for module in list(sys.modules.values())
        if isinstance(file := getattr(module, "__file__", None), str) and Path(file).is_relative_to(root)
    }
    return ("*", *(f"!{name}" for name in sorted(loaded)))


def _check_size(tree: Tree, root: str) -> None:
    sizes: dict[str, int] = {}
    for entry in tree.entries:
        top = os.fsdecode(entry.path.partition(b"/")[0])
        sizes[top] = sizes.get(top, 0) + (entry.status.st_size if entry.kind == "f" else 0)
    total = sum(sizes.values())
    if total > LARGEST:
        largest = max(sizes, key=lambda name: sizes[name])
        raise SpecError(
            f"the source tree `{root}` is {total >> 20} MiB, most of it in `{largest}`",
            hint=f"name `{largest}` in {root}/.dockerignore; data goes into mounts= or a File",
        )


class _Changed(Exception):
    """The tree is not what it was when its digest was taken."""


def _copy(tree: Tree, place: Path, digest: str) -> None:
    """Write the copy beside its place, then move it there: it is whole, or not there."""
    private_directory(place.parent)
    with partial_directory(place.parent) as temporary:
        for entry in tree.entries:
            if entry.path:
                _place(tree, entry, os.fsencode(temporary) + b"/" + entry.path)
        if tree_digest(tree) != digest:  # of what was read now
            raise _Changed(place.name)
        temporary.chmod(0o755)
        put_away(place)  # one that was changed
        temporary.rename(place)


def _place(tree: Tree, entry: Entry, target: bytes) -> None:
    match entry.kind:
        case "d":
            os.mkdir(target)  # noqa: PTH102 - bytes: any name
            os.chmod(target, 0o755)  # noqa: PTH101 - whatever the umask
        case "l":
            os.symlink(entry.target, target)  # noqa: PTH211
        case _:
            with open(target, "xb") as file:

                def begin(_: os.stat_result) -> None:
                    file.seek(0)
                    file.truncate()

                def data(chunk: bytes) -> None:
                    file.write(chunk)

                read(tree, entry, Index(None, ""), begin=begin, data=data)
            os.chmod(target, 0o755 if entry.is_executable else 0o644)  # noqa: PTH101
            os.utime(target, ns=(entry.status.st_mtime_ns, entry.status.st_mtime_ns))
