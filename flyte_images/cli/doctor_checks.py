"""Check this machine: each function checks one thing and yields findings, with a fix for each problem.

No check starts, installs or changes anything, except `leftovers` with `clean`.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..buildkit.address import Docker
from ..buildkit.probe import ProbedEngine, survey
from ..errors import FlyteImagesError

State = Literal["ok", "absent", "warning", "failed"]
_OLDEST_ENGINE = 26
_ENOUGH = 5_000_000_000  # bytes; a few images with their packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The state of one thing: ok, absent (and optional), warning (works with a drawback), or failed (and needed)."""

    area: str
    state: State
    what: str
    fix: str | None = None


def program(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Report the versions of this package, its interpreter and uv."""
    from importlib.metadata import version

    from .. import __version__

    what = f"flyte-images {__version__}, uv {version('uv')}, Python {platform.python_version()} ({sys.executable})"
    yield Finding(area="program", state="ok", what=what)


def engines(environ: Mapping[str, str], builder: str | None) -> Iterator[Finding]:
    """Check every BuildKit that is found. A build uses the first."""
    candidates = list(survey(builder, environ=environ))
    if not candidates:
        yield Finding(
            area="buildkit",
            state="failed",
            what="no BuildKit is candidates",
            fix="start Docker Engine, or set BUILDKIT_HOST",
        )
    for candidate in candidates:
        yield from _engine(candidate)


def _engine(found: ProbedEngine) -> Iterator[Finding]:
    where = f"{found.where} ({found.because})" if found.where else found.because
    needed: State = "failed" if found.chosen else "warning"
    if found.error is not None:
        yield Finding(area="buildkit", state=needed, what=f"{where}: {found.error}", fix=found.error.hint)
    elif found.capabilities is None or found.version is None:
        yield Finding(area="buildkit", state="ok", what=f"{where}: not running; a build starts it")
    else:
        able = found.capabilities
        what = f"{where}: image store {able.image_store}"
        if not able.merge:
            what += ", layers cannot be merged, so a changed package rebuilds the layers above it"
        if not found.chosen:
            what += "; used only with --builder"
        if able.merge:
            yield Finding(area="buildkit", state="ok", what=what)
        else:
            yield Finding(area="buildkit", state="warning", what=what, fix=_MERGE if able.docker else None)


_MERGE = 'in Docker\'s daemon.json: {"features": {"containerd-snapshotter": true}}, then restart it'


def docker(environ: Mapping[str, str], builder: str | None) -> Iterator[Finding]:
    """Check the Docker Engine that runs tasks, and the limits that it can apply."""
    from ..buildkit.discovery import choose
    from ..buildkit.engine_api import engine_info

    try:
        address = choose(builder, environ=environ).address
        if not isinstance(address, Docker):
            return
    except FlyteImagesError:
        return  # engines() reports it
    try:
        yield from docker_findings(engine_info(address))
    except FlyteImagesError as error:
        yield Finding(area="docker", state="failed", what=str(error), fix=error.hint)


def runners() -> Iterator[Finding]:
    """Check the other engines that can run tasks. An engine that does not work is a warning: others do."""
    from ..runner.engine_report import report_engines

    for engine in report_engines(os.environ, but=("docker",)):
        state: State = "warning" if engine.state == "failed" else engine.state
        yield Finding(area=engine.name, state=state, what=engine.what, fix=engine.fix)


def reach() -> Iterator[Finding]:
    """Check which engines keep tasks from this machine's addresses and from metadata services."""
    from ..runner.engine_report import report_engines, why_unfenced

    here = [engine.name for engine in report_engines(os.environ) if engine.state == "ok"]
    open_ = [name for name in here if why_unfenced(os.environ, name)]
    fenced = [name for name in here if name not in open_]
    if fenced:
        what = 'network="outbound" reaches neither metadata services nor other containers nor this machine'
        yield Finding(area="network", state="ok", what=f"{what}: {', '.join(fenced)}")
    for name in open_:
        what = (
            f'network="outbound" on {name} reaches this machine and metadata services: {why_unfenced(os.environ, name)}'
        )
        fix = 'list the hosts that a task may reach, network=["example.org"], or use ' + (
            " or ".join(fenced) or "another engine"
        )
        yield Finding(area="network", state="warning", what=what, fix=fix)


def docker_findings(info: Mapping[str, object]) -> Iterator[Finding]:
    """Return findings from the answer of Docker Engine to `GET /info`."""
    version = str(info.get("ServerVersion", ""))
    what = (
        f"Docker Engine {version}, {info.get('NCPU')} CPUs, {_gib(info.get('MemTotal'))}, {info.get('OperatingSystem')}"
    )
    major = version.partition(".")[0]
    old = major.isdigit() and int(major) < _OLDEST_ENGINE
    fix = f"install Docker Engine {_OLDEST_ENGINE} or newer" if old else None
    yield Finding(area="docker", state="warning" if old else "ok", what=what, fix=fix)
    limits = {"MemoryLimit": "memory", "CpuCfsQuota": "CPU", "PidsLimit": "processes"}
    missing = [name for key, name in limits.items() if not info.get(key)]
    groups = f"cgroup v{info.get('CgroupVersion', '?')}, driver {info.get('CgroupDriver', '?')}"
    if missing:
        what = f"{groups}: the engine cannot limit {', '.join(missing)}"
        yield Finding(area="limits", state="failed", what=what, fix="enable these cgroup controllers in the kernel")
    else:
        yield Finding(area="limits", state="ok", what=f"{groups}: memory, CPU and processes can be limited")


def gpus(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check the accelerators of this machine. A machine without any is fine."""
    from flyte_images_runtime.gpu import search

    search_result = search()
    if search_result.cards:
        yield Finding(area="gpu", state="ok", what=str(search_result))
    for problem in search_result.problems:
        has_device = bool(search_result.cards) or any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()
        yield Finding(area="gpu", state="warning" if has_device else "absent", what=problem)


def index(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check that the configured package index answers, by resolving a small package."""
    from flyte_images_layers import PythonRequirements

    from ..resolve import uv

    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    target = uv.Target(python=here, platform="linux/amd64", libc="2.36")
    impatient = {"UV_NO_CACHE": "1", "UV_HTTP_TIMEOUT": "10", "UV_HTTP_RETRIES": "1"}
    try:
        answer = uv.ask([PythonRequirements(requirements=("pip",))], target, environ={**environ, **impatient})
    except FlyteImagesError as error:
        message = " ".join(str(error).split())
        fix = error.hint or "check the network, and the proxy and index settings (UV_DEFAULT_INDEX, PIP_INDEX_URL)"
        yield Finding(area="index", state="failed", what=message, fix=fix)
    else:
        what = f"the package index answers (its newest: pip {answer.wheels[0].version})"
        yield Finding(area="index", state="ok", what=what)


def settings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Report which network settings of this machine build steps get. Names only: values may hold passwords."""
    from ..plan.network_settings import CA_VARIABLES
    from ..serving.host_settings import host_secrets

    given = sorted(name.removeprefix("flyte-images-env-") for name in host_secrets(environ) if "-env-" in name)
    named = [name for name in CA_VARIABLES if environ.get(name)]
    missing = [f"{name}={environ[name]}" for name in named if not Path(environ[name]).is_file()]
    if missing:
        what = f"missing file: {', '.join(missing)}"
        yield Finding(area="settings", state="warning", what=what, fix="correct the variable, or unset it")
    what = f"steps with a network get {', '.join(given)}" if given else "no proxy, CA bundle or index is set"
    yield Finding(area="settings", state="ok", what=what)


def bases(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Report the Debian bases on this machine, and whether one can be made without a registry."""
    from ..bootstrap.archive import require_tools
    from ..bootstrap.catalog import list_bases

    names = [f"{base.suite} (python {base.python}, {base.made[:10]})" for base in list_bases(environ)]
    what = f"made here: {', '.join(names)}" if names else "none made here; builds ask a registry, or make one"
    try:
        require_tools(environ)
    except FlyteImagesError as error:
        yield Finding(area="bases", state="ok" if names else "warning", what=f"{what}; {error}", fix=error.hint)
    else:
        yield Finding(area="bases", state="ok", what=what)


def cache(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check that the cache directory can be written, and that its disk has free space."""
    from ..store.cache_dir import cache_dir

    try:
        folder = cache_dir(environ)
    except FlyteImagesError as error:
        yield Finding(area="cache", state="failed", what=str(error), fix=error.hint)
        return
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        fix = "make it writable, or set FLYTE_IMAGES_CACHE to another directory"
        yield Finding(area="cache", state="failed", what=f"{folder} cannot be written", fix=fix)
        return
    free = shutil.disk_usage(existing).free
    what = f"{folder}, {_gib(free)} free"
    if free < _ENOUGH:
        yield Finding(
            area="cache",
            state="warning",
            what=what,
            fix="remove entries with `flyte-images cache prune`, or set FLYTE_IMAGES_CACHE",
        )
    else:
        yield Finding(area="cache", state="ok", what=what)


def leftovers(environ: Mapping[str, str], *, clean: bool) -> Iterator[Finding]:
    """List leftovers of programs that have ended; remove them with `clean`."""
    from ..leftovers import find

    count = 0
    for leftover in find(environ):
        if leftover is None:
            what = "an engine that has run tasks does not answer, so its leftovers are not known"
            yield Finding(area="leftovers", state="warning", what=what, fix="start the engine, then run this again")
            continue
        count += 1
        if not clean:
            yield Finding(area="leftovers", state="warning", what=str(leftover), fix="flyte-images doctor --clean")
            continue
        try:
            leftover.remove()
        except Exception as error:
            what = f"{leftover} could not be removed: {error}"
            yield Finding(area="leftovers", state="warning", what=what)
        else:
            yield Finding(area="leftovers", state="ok", what=f"removed {leftover}")
    if not count:
        yield Finding(area="leftovers", state="ok", what="no leftovers of programs that have ended")


def tools(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look for Graphviz, which is optional."""
    if dot := shutil.which("dot", path=environ.get("PATH")):
        yield Finding(area="graphviz", state="ok", what=dot)
    else:
        what = "not installed; only `show graph --format png` needs it"
        yield Finding(area="graphviz", state="absent", what=what, fix="apt-get install graphviz")


def _gib(count: object) -> str:
    return f"{count / 2**30:.1f} GiB" if isinstance(count, int) else "?"
