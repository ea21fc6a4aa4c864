"""What each engine of this machine is and offers, for `flyte-images doctor`. Starts no engine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flyte_images_runtime.engines.docker import DockerEngine

from ..errors import EngineError, TaskError
from .engines import EngineName, Engines

if TYPE_CHECKING:
    from flyte_images_runtime.engines.nerdctl import NerdctlEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """One engine: `ok`, `absent` (which is not an error), or `failed` with the remedy in `fix`."""

    name: EngineName
    state: Literal["ok", "absent", "failed"]
    what: str
    fix: str | None = None


def report_engines(environ: Mapping[str, str], *, but: Collection[str] = ()) -> Iterator[EngineReport]:
    """Report on each engine of this machine for this user, except on those named in `but`."""
    engines = Engines.of(environ)
    describe: tuple[tuple[EngineName, Callable[[], str | None]], ...] = (
        ("docker", lambda: _docker(engines, environ)),
        ("podman", _podman),
        ("nerdctl", lambda: _nerdctl(engines)),
        ("oci", _oci),
    )
    for name, described in describe:
        if name in but:
            continue
        try:
            what = described()
        except (EngineError, TaskError) as error:
            yield EngineReport(name=name, state="failed", what=str(error), fix=error.hint)
        else:
            yield EngineReport(name=name, state="ok" if what else "absent", what=what or "not here")


def why_unfenced(environ: Mapping[str, str], name: EngineName) -> str | None:
    """Return why tasks with `network="outbound"` on this engine reach this machine; None if they do not.

    The fence is in flyte_images_runtime/egress/fence.py.
    """
    if name == "nerdctl":
        return "nerdctl connects a container as it starts it"
    if name == "docker" and not Engines.of(environ).docker().fences_off:
        root = os.geteuid() == 0
        return "the engine does not run on this machine's own kernel" if root else "only root can fence them off there"
    return None


def _docker(engines: Engines, environ: Mapping[str, str]) -> str | None:
    from ..buildkit.discovery import engine

    return None if engine(environ=environ) is None else _server("Docker Engine", engines.docker())


def _podman() -> str | None:
    """Ask the program only: Podman's service is started when a task needs it."""
    program = shutil.which("podman")
    if program is None:
        return None
    from python_on_whales import DockerClient
    from python_on_whales.exceptions import DockerException

    try:
        client = DockerClient(client_call=[program], client_type="podman").version().client
    except DockerException as error:
        message = (error.stderr or "").strip()[-200:]
        raise EngineError(f"{program} does not work: {message}", hint="see `podman info`") from None
    return f"podman version {client.version if client else ''}{_limits_of_user()}"


def _nerdctl(engines: Engines) -> str | None:
    if shutil.which("nerdctl") is None:
        return None
    return _server("nerdctl, containerd", engines.nerdctl())


def _oci() -> str | None:
    from flyte_images_runtime.engines.oci.program import known

    programs = known()
    if not programs:
        return None
    if os.geteuid() == 0:
        return ", ".join(programs)
    from flyte_images_runtime.oci import rootless

    if (problem := rootless.problem()) is not None:
        raise EngineError(problem[0], hint=problem[1])
    return ", ".join(programs) + _limits_of_user()


def _server(kind: str, engine: DockerEngine | NerdctlEngine) -> str:
    return f"{kind} {engine.facts.get('ServerVersion', '')}, OCI runtimes: {', '.join(sorted(engine.runtimes()))}"


def _limits_of_user() -> str:
    """Return which limits an ordinary user's engine can hold; an empty text for root."""
    if os.geteuid() == 0:
        return ""
    from flyte_images_runtime.cgroup import delegation

    missing = delegation.missing()
    return f"; it can keep no limits: {missing[0]}" if missing else "; limits can be kept"
