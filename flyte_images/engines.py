"""Which engine runs a task: "docker", "podman", "oci" (crun or runc, no daemon), or "auto": whichever is quicker."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from flyte_images_runtime.bytecode import compile_package
from flyte_images_runtime.engines.docker import DockerEngine
from flyte_images_runtime.orphans import watch_over

from .cachedir import cache_dir
from .errors import EngineError, SpecError
from .shipping import ship

if TYPE_CHECKING:
    from flyte_images_runtime.engine import Engine
    from flyte_images_runtime.engines.oci import OciEngine
    from flyte_images_runtime.engines.podman import PodmanEngine
    from flyte_images_runtime.spec import TaskSpec

EngineName = Literal["auto", "docker", "podman", "oci"]


def docker_engine() -> DockerEngine:
    """The Docker Engine that `docker` would use. EngineError if there is none."""
    from .buildkit.discovery import engine

    found = engine(environ=os.environ)
    if found is None:
        raise EngineError(
            "there is no Docker Engine to run tasks on", hint="start one, or set DOCKER_HOST; see `flyte-images doctor`"
        )
    return _docker_at(str(found.api))


@functools.cache
def _docker_at(address: str) -> DockerEngine:
    return DockerEngine(address, library=library())


@functools.cache
def _oci_beside(address: str) -> OciEngine:
    from flyte_images_runtime.engines.oci import OciEngine

    return OciEngine(cache_dir(os.environ) / "rootfs", docker=_docker_at(address).api, library=library())


@functools.cache
def library() -> str:
    """The runtime package where a task's user can read it: as it is installed, or a copy."""
    from flyte_images_runtime import worker

    start = Path(worker.__file__ or "").with_name("start.py")
    package = start.parents[1]
    readable = all(path.stat().st_mode & 0o005 == 0o005 for path in (package, start.parent))
    ours = readable and start.stat().st_mode & 0o004
    found = str(package) if ours else ship(str(package), environ=os.environ)[0]
    compile_package(Path(found), ("", "worker", "values"))
    return found


def engine_for(name: EngineName, spec: TaskSpec) -> Engine:
    """The engine of that name; for "auto" oci where it can do what the task asks, else docker."""
    if name not in get_args(EngineName):
        raise SpecError(f"there is no engine `{name}`", hint="one of " + ", ".join(get_args(EngineName)))
    docker = docker_engine()
    if name == "docker":
        return docker
    if name == "podman":
        return _podman_with(spec.image, docker)
    if name == "auto" and not _oci_fits(docker, spec):
        return docker
    return _oci_beside(docker.api.address)


def _podman_with(image: str, docker: DockerEngine) -> PodmanEngine:
    """Podman, with the image that was built into Docker's store."""
    podman = _podman()
    watch_over(podman.api.address)
    podman.take_image(image, docker.api)
    return podman


@functools.cache
def _podman() -> PodmanEngine:
    from flyte_images_runtime.engines.podman import PodmanEngine

    return PodmanEngine(library=library(), environ=os.environ)


def _oci_fits(docker: DockerEngine, spec: TaskSpec) -> bool:
    """Root on the engine's own host, a runtime, and nothing that only Docker does."""
    from flyte_images_runtime.failures import EngineLost

    if os.geteuid() != 0 or not docker.api.address.startswith("unix:") or spec.hardening.runtime is not None:
        return False
    try:
        _oci_beside(docker.api.address).check(spec)
    except EngineLost:
        return False
    return True
