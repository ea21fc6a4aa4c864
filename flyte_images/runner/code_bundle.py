"""The caller's source trees -> code bundles: copies, named by their content, that a task may read.

A bundle is the tree at one moment, so that edits during a run do not reach the task. The user of the task can read a
bundle even if the original is private. The tree's `.dockerignore` applies, and so does a list of what no task needs.
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
from ..context.fingerprint import Fingerprint, take_fingerprint
from ..context.tree import Entry, Tree, is_known, read, read_all, scan, tree_digest
from ..errors import SpecError
from ..store.cache_dir import cache_dir
from .bundle_cache import HeldBundles, bundles_in, is_unchanged, locked, retire, seal

LARGEST = 512 << 20
"""Bytes of a source tree. A larger tree has data in it, which belongs into a mount."""

_IGNORE = ("**/venv", "**/node_modules", "**/.ssh", "**/.gnupg", "**/.aws", "**/.cache")
_ATTEMPTS = 20


class CodeBundles:
    """The bundles that this process makes and uses."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._held = HeldBundles()
        self._compiled: set[Path] = set()
        self._fingerprints: dict[tuple[str, str, tuple[str, ...]], tuple[Fingerprint, Path]] = {}

    def bundle(self, root: str) -> str:
        """Return the directory of a bundle with the content of the tree `root`.

        Raise SpecError if the tree is too large, or changes whenever it is read.
        """
        for _ in range(_ATTEMPTS):
            try:
                return str(self._bundle(root))
            except _Changed:
                continue
            except SpecError as error:  # an editor removed a file during the scan: scan again
                if not isinstance(error.__context__, FileNotFoundError) or not Path(root).exists():
                    raise
        raise SpecError(
            f"the source tree `{root}` changes while it is read",
            hint="stop the program that writes to it, or ignore it",
        )

    def _bundle(self, root: str) -> Path:
        cache = cache_dir(self._environ)
        patterns = (*_IGNORE, *_only_loaded_modules(root, self._environ))
        key = (root, str(cache), patterns)
        known = self._fingerprints.get(key)
        if known is not None and known[0].holds() and self._held.acquire(known[1]):
            return known[1]
        scanned_at = time.time_ns()
        index = Index(cache / "context", "\0".join(("code", root, *patterns)))
        tree = scan(root, patterns)
        _check_size(tree, root)
        if not is_known(tree, index):
            read_all(tree, index)
        index.save()
        digest = tree_digest(tree)
        bundle = cache / "code" / digest.removeprefix("sha256:")
        if bundle not in self._compiled or not self._held.acquire(bundle):
            self._complete(bundle, tree, root, digest)
        fingerprint = take_fingerprint(tree, patterns, looked_at=scanned_at, settled=index.has)
        if fingerprint is not None:
            self._fingerprints[key] = (fingerprint, bundle)
        return bundle

    def _complete(self, bundle: Path, tree: Tree, root: str, digest: str) -> None:
        """Make the bundle unless it exists unchanged, and compile the modules that this process has loaded."""
        with locked(bundle.parent):
            is_new = not self._held.acquire(bundle) or not is_unchanged(bundle)
            if is_new:
                self._copy(tree, bundle, digest)
                self._held.acquire(bundle)
            if compile_beside(bundle / name for name in loaded_below(root)) or is_new:
                seal(bundle)
        self._compiled.add(bundle)
        if is_new:
            bundles_in(bundle.parent).evict()

    def _copy(self, tree: Tree, bundle: Path, digest: str) -> None:
        """Copy the tree to a partial directory, then rename that to the bundle, so that no bundle is incomplete."""
        private_directory(bundle.parent)
        with partial_directory(bundle.parent) as partial:
            for entry in tree.entries:
                if entry.path:
                    _copy_entry(tree, entry, os.fsencode(partial) + b"/" + entry.path)
            if tree_digest(tree) != digest:  # the digest of the content that was copied
                raise _Changed(bundle.name)
            partial.chmod(0o755)
            self._held.release(bundle)
            retire(bundle)  # in case there is a damaged one
            partial.rename(bundle)


def _only_loaded_modules(root: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return patterns that leave only the loaded modules of a root that is not a project: a home directory, /tmp."""
    shared = {"/", environ.get("HOME", "/"), str(Path.home()), tempfile.gettempdir(), "/tmp", "/var/tmp"}
    if os.path.abspath(root) not in {os.path.abspath(directory) for directory in shared}:  # noqa: PTH100
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
    """The tree has changed since its digest was taken."""


def _copy_entry(tree: Tree, entry: Entry, target: bytes) -> None:
    match entry.kind:
        case "d":
            os.mkdir(target)  # noqa: PTH102 - names are bytes
            os.chmod(target, 0o755)  # noqa: PTH101 - independent of the umask
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
