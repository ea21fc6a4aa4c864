"""An image that a BuildKit without an image store sends here -> the store of Docker or Podman, with no file between."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping

from ..errors import BuildError, EngineError
from .address import Docker
from .discovery import engine
from .engine_api import load_image

Take = Callable[[Iterable[bytes]], object]
"""Takes in the tarball of an image, chunk by chunk. Where the chunks end with an exception, it keeps nothing."""


def find_store(environ: Mapping[str, str]) -> Take:
    """Where a task finds its image: the Docker Engine that `docker` uses, else Podman.

    Raises EngineError if there is neither.
    """
    if docker := engine(environ=environ):
        return into_docker(docker)
    if podman := shutil.which("podman", path=environ.get("PATH")):
        return into_podman(podman)
    raise EngineError(
        "there is no Docker Engine and no Podman here to take the image in",
        hint="start one, push the image, or write it to a file: --output",
    )


def into_docker(docker: Docker) -> Take:
    """Load into a Docker Engine (or Podman's service) through its API."""
    return lambda archive: load_image(docker, archive)


def into_podman(program: str = "podman") -> Take:
    """Load by `podman load`."""

    def take(archive: Iterable[bytes]) -> None:
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                (program, "load", "--quiet"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
            ) as running,
        ):
            assert running.stdin is not None
            try:
                for chunk in archive:
                    running.stdin.write(chunk)
                running.stdin.flush()
            except BrokenPipeError:
                pass  # it has ended: its own words follow
            except BaseException:
                running.kill()  # before it sees the end of its input and takes half an image for a whole one
                raise
            finally:
                with contextlib.suppress(BrokenPipeError):
                    running.stdin.close()
            if running.wait():
                said.seek(0)
                words = said.read()[-2000:].decode("utf-8", "replace").strip()
                raise BuildError(f"`podman load` failed: {words}", hint="has its disk room left?")

    return take
