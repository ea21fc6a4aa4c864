"""What processes that are gone have left on this machine: found by its owner's mark, removed at the next start.

At a start this costs a look at one file. Every ten minutes, after the machine has started, and once an engine went away
under a task, a process of its own is started that does the rest, with what is left of the processor.

<cache>/swept/last      its time says when that was
<cache>/swept/HASH      the address of an engine that this user's tasks have run on
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
_SOON = 60.0  # until an engine that did not answer is asked again


def watch_over(address: str, environ: Mapping[str, str]) -> None:
    """Have what this process runs on the engine at `address` end with it, and what others have left there removed."""
    from flyte_images_runtime.engines import reaper

    directory = _directory(environ)
    if reaper.watch_over(address, str(directory / "last") if directory else ""):
        sweep_at_times(environ, address)


def sweep_at_times(environ: Mapping[str, str], address: str = "") -> None:
    """Start a sweep if the last one was some time ago. It is never in the way: whatever fails is left for the next."""
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
    """Start `main` in a process that nothing waits for."""
    import subprocess

    import flyte_images_runtime

    modules = (sys.modules[__package__], flyte_images_runtime)
    places = [str(Path(module.__file__ or "").resolve().parents[1]) for module in modules]
    command = f"import sys; sys.path += {places!r}; from flyte_images.leftovers import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", command],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # it outlives this process
        cwd="/",
    )
    process.returncode = 0


def main() -> None:
    """Sweep, as a process of its own."""
    import fcntl

    os.nice(19)
    directory = _directory(os.environ)
    if directory is None:
        return
    with (directory / "last").open("rb") as last:
        try:
            fcntl.flock(last, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # another one does it
        if not remove_all(os.environ):
            soon = time.time() - _EVERY + _SOON
            os.utime(last.fileno(), (soon, soon))
        bound_layout(os.environ)


def bound_layout(environ: Mapping[str, str]) -> None:
    """Remove packed files that were not used for 30 days, or that are beyond 10 GiB, and blobs that no record names."""
    from .store.blobs import packed_in, remove_unnamed

    with contextlib.suppress(SpecError, OSError):
        packed_in(cache_dir(environ)).evict()
        remove_unnamed(cache_dir(environ))


def remove_all(environ: Mapping[str, str]) -> bool:
    """Remove what there is. False if an engine that was asked before does not answer."""
    complete = True
    for one in find(environ):
        if one is None:
            complete = False
            continue
        with contextlib.suppress(Exception):  # what cannot be removed keeps nothing else from being removed
            one.remove()
    return complete


def find(environ: Mapping[str, str]) -> Iterator[Leftover | None]:
    """All that is left; None for an engine that does not answer."""
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
            yield Leftover("image layers kept for the cache that is gone:", view.path, view.remove)


def _addresses(environ: Mapping[str, str]) -> set[str]:
    """The engines that tasks of this user have run on, and the one that Docker's settings name now."""
    from .buildkit.discovery import engine

    found: set[str] = set()
    with contextlib.suppress(FlyteImagesError):
        docker = engine(environ=environ)
        found |= {str(docker.api)} if docker is not None else set()
    directory = _directory(environ)
    if directory is not None:
        for path in directory.glob("[0-9a-f]*"):
            with contextlib.suppress(OSError, ValueError):
                address = path.read_text(encoding="utf-8")
                socket = Path(address.removeprefix("unix://"))
                if address.startswith("unix:") and not socket.exists() and time.time() - path.stat().st_mtime > _DAY:
                    path.unlink()  # it will not come back; if it does, the next task says so
                else:
                    found.add(address)
    return found


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
