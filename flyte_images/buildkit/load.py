"""An image from a BuildKit without an image store -> Docker's or Podman's store, without a file between."""

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

ImageLoader = Callable[[Iterable[bytes]], object]
"""Loads the tarball of an image, piece by piece. If the pieces end with an exception, nothing is loaded."""


def find_store(environ: Mapping[str, str]) -> ImageLoader:
    """Return the loader of the store in which a task finds its image: the Docker Engine of `docker`, else Podman.

    Raises EngineError if this machine has neither.
    """
    if docker := engine(environ=environ):
        return into_docker(docker)
    if podman := shutil.which("podman", path=environ.get("PATH")):
        return into_podman(podman)
    raise EngineError(
        "this machine has no Docker Engine and no Podman to load the image into",
        hint="start one, push the image, or write it to a file: --output",
    )


def into_docker(docker: Docker) -> ImageLoader:
    """Return a loader for a Docker Engine (or Podman's service), through its API."""
    return lambda archive: load_image(docker, archive)


def into_podman(program: str = "podman") -> ImageLoader:
    """Return a loader that runs `podman load`."""

    def load(archive: Iterable[bytes]) -> None:
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(
                (program, "load", "--quiet"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
            ) as running,
        ):
            assert running.stdin is not None
            try:
                for chunk in archive:
                    running.stdin.write(chunk)
                running.stdin.flush()
            except BrokenPipeError:
                pass  # podman has ended: its error text is reported below
            except BaseException:
                running.kill()  # before podman sees the end of its input and loads half an image
                raise
            finally:
                with contextlib.suppress(BrokenPipeError):
                    running.stdin.close()
            if running.wait():
                errors.seek(0)
                text = errors.read()[-2000:].decode("utf-8", "replace").strip()
                raise BuildError(f"`podman load` failed: {text}", hint="is its disk full?")

    return load
