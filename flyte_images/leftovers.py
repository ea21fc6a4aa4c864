"""Remove what killed processes have left on this machine; the marks of its owner identify it.

A start of the product looks at one file. If the last sweep was ten minutes ago, or before the machine booted, or if an
engine went away under a task, the start launches a sweep as another process with the lowest priority.

<cache>/swept/last      its modification time is the time of the last sweep
<cache>/swept/HASH      the address of an engine that tasks of this user have run on
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flyte_images_runtime.system.process_id import booted

from .errors import FlyteImagesError, SpecError
from .store.cache_dir import cache_dir

if TYPE_CHECKING:
    from flyte_images_runtime.engines.reaper import Leftover

_EVERY = 600.0  # seconds
_DAY = 86400.0
_SOON = 60.0  # seconds until an engine that did not answer is asked again


def watch_over(address: str, environ: Mapping[str, str]) -> None:
    """Have the tasks of this process at `address` end with the process, and remove leftovers of others there."""
    from flyte_images_runtime.engines import reaper

    directory = _directory(environ)
    if reaper.watch_over(address, str(directory / "last") if directory else ""):
        sweep_at_times(environ, address)


def sweep_at_times(environ: Mapping[str, str], address: str = "") -> None:
    """Start a sweep if one is due. Never raise: the next sweep removes what this one could not."""
    directory = _directory(environ)
    if directory is None:
        return
    last, now = directory / "last", time.time()
    try:
        if address:
            _remember(directory, address)
        with contextlib.suppress(FileNotFoundError):
            seen = last.stat().st_mtime
            if seen > booted() and 0 <= now - seen < _EVERY:
                return
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        last.touch(mode=0o600)
    except OSError:
        return
    _start(environ)


def _start(environ: Mapping[str, str]) -> None:
    """Start `main` in a process for which no process waits."""
    import subprocess

    import flyte_images_runtime

    modules = (sys.modules[__package__], flyte_images_runtime)
    paths = [str(Path(module.__file__ or "").resolve().parents[1]) for module in modules]
    command = f"import sys; sys.path += {paths!r}; from flyte_images.leftovers import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", command],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # the sweep outlives this process
        cwd="/",
    )
    process.returncode = 0


def main() -> None:
    """Sweep: the main function of the process that `_start` starts."""
    import fcntl

    os.nice(19)
    directory = _directory(os.environ)
    if directory is None:
        return
    with (directory / "last").open("rb") as last:
        try:
            fcntl.flock(last, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # another process sweeps
        if not remove_all(os.environ):
            soon = time.time() - _EVERY + _SOON
            os.utime(last.fileno(), (soon, soon))
        bound_layout(os.environ)


def bound_layout(environ: Mapping[str, str]) -> None:
    """Remove packed files without a use in 30 days or beyond 10 GiB, and blobs that no record names."""
    from .store.blobs import packed_in, remove_unnamed

    with contextlib.suppress(SpecError, OSError):
        packed_in(cache_dir(environ)).evict()
        remove_unnamed(cache_dir(environ))


def remove_all(environ: Mapping[str, str]) -> bool:
    """Remove all leftovers. Return False if an engine that tasks have run on does not answer."""
    complete = True
    for leftover in find(environ):
        if leftover is None:
            complete = False
            continue
        with contextlib.suppress(Exception):  # the others are removed all the same
            leftover.remove()
    return complete


def find(environ: Mapping[str, str]) -> Iterator[Leftover | None]:
    """Yield each leftover, and None for each engine that does not answer."""
    from flyte_images_runtime.engines import reaper

    from .errors import TaskError

    for address in sorted(_addresses(environ)):
        try:
            yield from reaper.leftovers_of(address)
        except TaskError:
            yield None
    yield from reaper.leftovers_here()
    yield from _views()


def _views() -> Iterator[Leftover]:
    from flyte_images_runtime.engines.reaper import Leftover
    from flyte_images_runtime.oci import snapshots, views

    if snapshots.reachable():
        for view in views.abandoned():
            yield Leftover("image layers kept for a cache that is gone:", view.path, view.remove)


def _addresses(environ: Mapping[str, str]) -> set[str]:
    """Return the engines that tasks of this user have run on, and the engine that Docker's settings name now."""
    from .buildkit.discovery import engine

    addresses: set[str] = set()
    with contextlib.suppress(FlyteImagesError):
        docker = engine(environ=environ)
        addresses |= {str(docker.api)} if docker is not None else set()
    directory = _directory(environ)
    if directory is not None:
        for path in directory.glob("[0-9a-f]*"):
            with contextlib.suppress(OSError, ValueError):
                address = path.read_text(encoding="utf-8")
                socket = Path(address.removeprefix("unix://"))
                if address.startswith("unix:") and not socket.exists() and time.time() - path.stat().st_mtime > _DAY:
                    path.unlink()  # the next task on this engine would write the file again
                else:
                    addresses.add(address)
    return addresses


def _remember(directory: Path, address: str) -> None:
    import hashlib

    path = directory / hashlib.sha256(address.encode()).hexdigest()[:16]
    if not path.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(address, encoding="utf-8")


def _directory(environ: Mapping[str, str]) -> Path | None:
    try:
        return cache_dir(environ) / "swept"
    except SpecError:
        return None
