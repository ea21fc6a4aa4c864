"""Which engine runs a task: by its name, or "auto", the quickest that can apply what the task asks.

docker    Docker Engine, which `docker` would use
podman    Podman, of root or of an ordinary user
nerdctl   containerd without Docker; root
oci       crun or runc and no daemon; root, and ordinary users with images that they can read
"""

from __future__ import annotations

import functools
import os
import shutil
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
    from flyte_images_runtime.engines.nerdctl import NerdctlEngine
    from flyte_images_runtime.engines.oci import OciEngine
    from flyte_images_runtime.engines.podman import PodmanEngine
    from flyte_images_runtime.spec import TaskSpec

EngineName = Literal["auto", "docker", "podman", "nerdctl", "oci"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
"""All names that are taken, wherever an engine can be named."""


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


def image_store() -> DockerEngine:
    """Where images are that tasks run in: Docker's store; where there is no Docker, Podman's."""
    try:
        return docker_engine()
    except EngineError:
        if shutil.which("podman"):
            return _podman()
        raise


def engine_for(name: EngineName, spec: TaskSpec) -> Engine:
    """The engine of that name; for "auto" oci where it can do what the task asks, else the one that has the image."""
    if name not in ENGINES:
        raise SpecError(f"there is no engine `{name}`", hint="one of " + ", ".join(ENGINES))
    if name == "docker":
        return docker_engine()
    store = image_store()
    if name == "podman":
        return _podman_with(spec.image, store)
    if name == "nerdctl":
        return _nerdctl_with(spec.image, store)
    if name == "auto" and not _oci_fits(store, spec):
        return store
    return _oci_beside(store.api.address)


def passes_large_pages(name: EngineName, spec: TaskSpec) -> bool:
    """Will the engine be one that attaches a file system which is mounted nowhere? No, if devices may decide on it."""
    if os.geteuid() != 0 or name not in ("auto", "oci") or (name == "auto" and spec.limits.gpu is not None):
        return False
    return engine_for(name, spec).name == "oci"


def _podman_with(image: str, store: DockerEngine) -> PodmanEngine:
    """Podman, with the image that was built into Docker's store."""
    podman = _podman()
    watch_over(podman.api.address)
    if store is not podman:
        podman.take_image(image, store.api)
    return podman


@functools.cache
def _podman() -> PodmanEngine:
    from flyte_images_runtime.engines.podman import PodmanEngine

    return PodmanEngine(library=library(), environ=os.environ)


def _nerdctl_with(image: str, store: DockerEngine) -> NerdctlEngine:
    """nerdctl, with the image that was built into Docker's store."""
    from flyte_images_runtime.engines.nerdctl.program import ADDRESS

    nerdctl = _nerdctl()
    watch_over(ADDRESS)
    nerdctl.take_image(image, store.api)
    return nerdctl


@functools.cache
def _nerdctl() -> NerdctlEngine:
    from flyte_images_runtime.engines.nerdctl import NerdctlEngine

    return NerdctlEngine(library=library())


def _oci_fits(store: DockerEngine, spec: TaskSpec) -> bool:
    """On the engine's own host, a runtime, and nothing that only the engine does or was told how to do."""
    from flyte_images_runtime.failures import EngineLost

    if os.geteuid() != 0 or store.name != "docker" or not store.api.address.startswith("unix:"):
        return False
    if spec.hardening.runtime is not None and spec.hardening.runtime in store.runtimes():
        return False
    try:
        _oci_beside(store.api.address).check(spec)
    except EngineLost:
        return False
    return True
