"""The engine that runs a task: chosen by name, or by "auto", the quickest engine that supports what the task asks for.

docker    Docker Engine, the one that the `docker` command would use
podman    Podman, of root or of an ordinary user
nerdctl   containerd without Docker; root only
oci       crun or runc without a daemon; root, and ordinary users with images that they can read
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from flyte_images_runtime.engines.docker import DockerEngine
from flyte_images_runtime.task.bytecode import compile_package

from ..errors import EngineError, SpecError
from ..leftovers import watch_over
from ..store.cache_dir import cache_dir
from .bundle_cache import seal
from .code_bundle import CodeBundles
from .make_once import MakeOnce

if TYPE_CHECKING:
    from flyte_images_runtime.engines.nerdctl import NerdctlEngine
    from flyte_images_runtime.engines.oci import OciEngine
    from flyte_images_runtime.engines.podman import PodmanEngine
    from flyte_images_runtime.task.engine import Engine
    from flyte_images_runtime.task.spec import TaskSpec

EngineName = Literal["auto", "docker", "podman", "nerdctl", "oci"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
"""All names that are accepted wherever an engine can be named."""


class Engines:
    """The engines of this machine for this user. Each is connected to when it is first needed, and kept."""

    def __init__(self, environ: Mapping[str, str], bundles: CodeBundles) -> None:
        self._environ = environ
        self._bundles = bundles
        self._once = MakeOnce()

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Engines:
        """Return the engines that the variables (DOCKER_HOST, DOCKER_CONTEXT, ...) and this machine offer."""
        return cls(environ, CodeBundles(environ))

    def docker(self) -> DockerEngine:
        """Return the Docker Engine that the `docker` command would use. Raise EngineError if there is none."""
        from ..buildkit.discovery import engine

        found = engine(environ=self._environ)
        if found is None:
            raise EngineError(
                "there is no Docker Engine to run tasks on",
                hint="start one, or set DOCKER_HOST; see `flyte-images doctor`",
            )
        address = str(found.api)
        return self._once(("docker", address), lambda: DockerEngine(address, library=self.library()))

    def podman(self) -> PodmanEngine:
        """Return this user's Podman."""
        from flyte_images_runtime.engines.podman import PodmanEngine

        return self._once("podman", lambda: PodmanEngine(library=self.library(), environ=self._environ))

    def nerdctl(self) -> NerdctlEngine:
        """Return containerd, driven by nerdctl."""
        from flyte_images_runtime.engines.nerdctl import NerdctlEngine

        return self._once("nerdctl", lambda: NerdctlEngine(library=self.library()))

    def library(self) -> str:
        """Return the directory of the runtime package, which a task's user can read: the installed one, or a bundle."""
        return self._once("library", self._find_library)

    def _find_library(self) -> str:
        from flyte_images_runtime import worker

        start = Path(worker.__file__ or "").with_name("start.py")
        package = start.parents[1]
        searchable = all(path.stat().st_mode & 0o005 == 0o005 for path in (package, start.parent))
        readable = searchable and start.stat().st_mode & 0o004
        library = str(package) if readable else self._bundles.bundle(str(package))
        if compile_package(Path(library), ("", "worker", "values")) and not readable:
            seal(Path(library))
        return library

    def image_store(self) -> DockerEngine:
        """Return the engine that has the images of tasks: Docker, or Podman where this user has no Docker."""
        try:
            docker = self.docker()
        except EngineError:
            if shutil.which("podman"):
                return self.podman().awake()
            raise
        return self.podman().awake() if self._is_closed(docker.api.address) and shutil.which("podman") else docker

    def _is_closed(self, address: str) -> bool:
        """Return whether the address is a default socket that this user may not open.

        A socket that DOCKER_HOST or DOCKER_CONTEXT names is used, or is an error.
        """
        path = address.removeprefix("unix://")
        named = self._environ.get("DOCKER_HOST") or self._environ.get("DOCKER_CONTEXT")
        return not named and path != address and not os.access(path, os.R_OK | os.W_OK)

    def select(self, name: EngineName, spec: TaskSpec) -> Engine:
        """Return the engine of that name. For "auto" return oci if it supports `spec`, else the image store's engine.

        Raise SpecError if the name is unknown, EngineError if the engine does not run.
        """
        if name not in ENGINES:
            raise SpecError(f"there is no engine `{name}`", hint="one of " + ", ".join(ENGINES))
        if name == "docker":
            return self.docker()
        store = self.image_store()
        if name == "podman":
            return self._podman_with(spec.image, store)
        if name == "nerdctl":
            return self._nerdctl_with(spec.image, store)
        if name == "auto" and not self._oci_supports(store, spec):
            return store
        return self._oci_beside(store)

    def attaches_large_pages(self, name: EngineName, spec: TaskSpec) -> bool:
        """Return whether the chosen engine can attach a detached tmpfs. False if a GPU may change the choice."""
        if os.geteuid() != 0 or name not in ("auto", "oci") or (name == "auto" and spec.limits.gpu is not None):
            return False
        return self.select(name, spec).name == "oci"

    def _podman_with(self, image: str, store: DockerEngine) -> PodmanEngine:
        """Return Podman, after it has taken over the image from Docker's store."""
        podman = self.podman()
        watch_over(podman.api.address, self._environ)
        if store is not podman:
            podman.take_image(image, store.api)
        return podman

    def _nerdctl_with(self, image: str, store: DockerEngine) -> NerdctlEngine:
        """Return nerdctl, after it has taken over the image from Docker's store."""
        from flyte_images_runtime.engines.nerdctl.program import ADDRESS

        nerdctl = self.nerdctl()
        watch_over(ADDRESS, self._environ)
        nerdctl.take_image(image, store.api)
        return nerdctl

    def _oci_beside(self, store: DockerEngine) -> OciEngine:
        """Return the engine that runs the images of `store` with crun or runc."""
        return self._once(("oci", store), lambda: self._make_oci(store))

    def _make_oci(self, store: DockerEngine) -> OciEngine:
        from flyte_images_runtime.engines.oci import OciEngine

        archive = None
        if store.name == "podman":
            from flyte_images_runtime.engines.podman.images import open_layout

            archive = functools.partial(open_layout, store.api)
        rootfs = cache_dir(self._environ) / "rootfs"
        return OciEngine(rootfs, docker=store.api, archive=archive, library=self.library())

    def _oci_supports(self, store: DockerEngine, spec: TaskSpec) -> bool:
        """Return whether the `oci` engine supports everything that `spec` asks for.

        Root needs Docker's directories and bridge, another user needs the image in their own Podman. An OCI runtime
        that the engine of the store is configured for is left to that engine.
        """
        from ..errors import EngineLost

        if not store.api.address.startswith("unix:") or store.name != ("docker" if os.geteuid() == 0 else "podman"):
            return False
        if spec.hardening.runtime is not None and spec.hardening.runtime in store.runtimes():
            return False
        try:
            self._oci_beside(store).check(spec)
        except EngineLost:
            return False
        return True
