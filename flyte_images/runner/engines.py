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
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from flyte_images_runtime.engines.docker import DockerEngine
from flyte_images_runtime.task.bytecode import compile_package

from ..errors import EngineError, SpecError
from ..leftovers import watch_over
from ..store.cache_dir import cache_dir
from .bundle_cache import seal
from .code_bundle import ship

if TYPE_CHECKING:
    from flyte_images_runtime.engines.nerdctl import NerdctlEngine
    from flyte_images_runtime.engines.oci import OciEngine
    from flyte_images_runtime.engines.podman import PodmanEngine
    from flyte_images_runtime.task.engine import Engine
    from flyte_images_runtime.task.spec import TaskSpec

EngineName = Literal["auto", "docker", "podman", "nerdctl", "oci"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
"""All names that are taken, wherever an engine can be named."""


def docker_engine() -> DockerEngine:
    """The Docker Engine that `docker` would use. EngineError if there is none."""
    from ..buildkit.discovery import engine

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
def _oci_beside(store: DockerEngine) -> OciEngine:
    from flyte_images_runtime.engines.oci import OciEngine

    archive = None
    if store.name == "podman":
        from flyte_images_runtime.engines.podman.images import open_layout

        archive = functools.partial(open_layout, store.api)
    return OciEngine(cache_dir(os.environ) / "rootfs", docker=store.api, archive=archive, library=library())


@functools.cache
def library() -> str:
    """The runtime package where a task's user can read it: as it is installed, or a copy."""
    from flyte_images_runtime import worker

    start = Path(worker.__file__ or "").with_name("start.py")
    package = start.parents[1]
    readable = all(path.stat().st_mode & 0o005 == 0o005 for path in (package, start.parent))
    ours = readable and start.stat().st_mode & 0o004
    found = str(package) if ours else ship(str(package), environ=os.environ)[0]
    if compile_package(Path(found), ("", "worker", "values")) and not ours:
        seal(Path(found))
    return found


def image_store() -> DockerEngine:
    """Where images are that tasks run in: Docker's store; where there is none for this user, Podman's."""
    try:
        docker = docker_engine()
    except EngineError:
        if shutil.which("podman"):
            return _podman().awake()
        raise
    return _podman().awake() if _is_closed(docker.api.address) and shutil.which("podman") else docker


def _is_closed(address: str) -> bool:
    """Is that a socket which happens to be here, and not for this user? One that was named is used, or is an error."""
    path = address.removeprefix("unix://")
    named = os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT")
    return not named and path != address and not os.access(path, os.R_OK | os.W_OK)


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
    return _oci_beside(store)


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
    """Does crun or runc what the task asks here, and nothing is asked that only the engine does or was told how to do?

    Root has Docker's directories and bridge; another user has what is in its own Podman.
    """
    from ..errors import EngineLost

    if not store.api.address.startswith("unix:") or store.name != ("docker" if os.geteuid() == 0 else "podman"):
        return False
    if spec.hardening.runtime is not None and spec.hardening.runtime in store.runtimes():
        return False
    try:
        _oci_beside(store).check(spec)
    except EngineLost:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one engine is here: `ok`, `absent` (which is nothing wrong), or `failed`, with what helps."""

    name: EngineName
    state: Literal["ok", "absent", "failed"]
    what: str
    fix: str | None = None


def look_at_engines(*, but: Collection[str] = ()) -> Iterator[Look]:
    """Each engine of this machine, for this user. Starts nothing."""
    from ..errors import TaskError

    looks: tuple[tuple[EngineName, Callable[[], str | None]], ...] = (
        ("docker", _look_at_docker),
        ("podman", _look_at_podman),
        ("nerdctl", _look_at_nerdctl),
        ("oci", _look_at_oci),
    )
    for name, look in looks:
        if name in but:
            continue
        try:
            what = look()
        except (EngineError, TaskError) as error:
            yield Look(name=name, state="failed", what=str(error), fix=error.hint)
        else:
            yield Look(name=name, state="ok" if what else "absent", what=what or "not here")


def unfenced(name: EngineName) -> str | None:
    """Why tasks with `network="outbound"` on this engine reach this machine; None: they do not (egress/fence.py)."""
    if name == "nerdctl":
        return "nerdctl connects a container as it starts it"
    if name == "docker" and not docker_engine().fences_off:
        own = os.geteuid() == 0
        return "the engine does not run on this machine's own kernel" if own else "only root can fence them off there"
    return None


def _look_at_docker() -> str | None:
    from ..buildkit.discovery import engine

    if engine(environ=os.environ) is None:
        return None
    return _told("Docker Engine", docker_engine())


def _look_at_podman() -> str | None:
    """Look at Podman by its program alone: its service is started when a task needs it."""
    program = shutil.which("podman")
    if program is None:
        return None
    from python_on_whales import DockerClient
    from python_on_whales.exceptions import DockerException

    try:
        client = DockerClient(client_call=[program], client_type="podman").version().client
    except DockerException as error:
        said = (error.stderr or "").strip()[-200:]
        raise EngineError(f"{program} does not work: {said}", hint="see `podman info`") from None
    return f"podman version {client.version if client else ''}{_of_whom()}"


def _of_whom() -> str:
    """What an ordinary user's engine can keep."""
    if os.geteuid() == 0:
        return ""
    from flyte_images_runtime.cgroup import delegation

    missing = delegation.missing()
    return f"; it can keep no limits: {missing[0]}" if missing else "; limits can be kept"


def _told(kind: str, engine: DockerEngine) -> str:
    return f"{kind} {engine.facts.get('ServerVersion', '')}, OCI runtimes: {', '.join(sorted(engine.runtimes()))}"


def _look_at_nerdctl() -> str | None:
    if shutil.which("nerdctl") is None:
        return None
    nerdctl = _nerdctl()
    version = nerdctl.facts.get("ServerVersion", "")
    return f"nerdctl, containerd {version}, OCI runtimes: {', '.join(nerdctl.runtimes())}"


def _look_at_oci() -> str | None:
    from flyte_images_runtime.engines.oci.program import known

    found = known()
    if not found:
        return None
    if os.geteuid() == 0:
        return ", ".join(found)
    from flyte_images_runtime.oci import rootless

    if (problem := rootless.problem()) is not None:
        raise EngineError(problem[0], hint=problem[1])
    return ", ".join(found) + _of_whom()
