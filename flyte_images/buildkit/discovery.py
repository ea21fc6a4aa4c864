"""Choose the BuildKit of a build: the first of the user's settings, in a fixed order, else a socket that exists.

    1. a given address or builder name                        (--builder, `connect(address)`)
    2. BUILDKIT_HOST                                          (an address)
    3. DOCKER_HOST, else DOCKER_CONTEXT                       (Docker Engine, with DOCKER_TLS_VERIFY, DOCKER_CERT_PATH)
    4. BUILDX_BUILDER, else buildx's current builder
    5. Docker's current context, unless it is `default`
    6. the first socket that exists:
       /var/run/docker.sock, $XDG_RUNTIME_DIR/docker.sock, ~/.docker/run/docker.sock,
       /run/buildkit/buildkitd.sock, $XDG_RUNTIME_DIR/buildkit/buildkitd.sock
    7. a `buildkitd` on PATH or in `bin` of the cache directory (store/cache_dir.py), started on demand
       (local_daemon.py)

A setting of 1 to 5 is used, or is an error; another BuildKit never takes its place. This module reads files and looks
for sockets, but connects to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flyte_images_layers.record import record

from ..errors import EngineError, SpecError
from .address import Address, Docker, Unix, parse
from .docker_config import DockerSettings

if TYPE_CHECKING:
    from .local_daemon import Daemon


@record(kw_only=True)
class Choice:
    """An address, and the reason for the choice. `daemon` must be started before a connection to the address."""

    address: Address
    because: str
    daemon: Daemon | None = None


def choose(given: str | None, *, environ: Mapping[str, str]) -> Choice:
    """Return the BuildKit to use. Raises EngineError, with the places that were searched, if none is found."""
    choice = next(candidates(given, environ=environ), None)
    if choice is None:
        searched = ", ".join(str(socket.path) for socket, _ in _sockets(environ))
        raise EngineError(
            "no BuildKit is found: BUILDKIT_HOST and DOCKER_HOST are not set, no builder or context is chosen, "
            f"no socket exists at {searched}, and no `buildkitd` is on PATH",
            hint="start Docker Engine (`make engine` installs it), or set BUILDKIT_HOST",
        )
    return choice


def candidates(given: str | None, *, environ: Mapping[str, str]) -> Iterator[Choice]:
    """Yield the choices in order of preference. A build takes the first one."""
    settings = DockerSettings(environ)
    named = (
        _given(given, settings) if given else None,
        _choice(environ, "BUILDKIT_HOST", parse),
        _choice(environ, "DOCKER_HOST", settings.host),
        _choice(environ, "DOCKER_CONTEXT", settings.context),
        _choice(environ, "BUILDX_BUILDER", settings.builder),
    )
    yield from (choice for choice in named if choice is not None)
    if builder := settings.current_builder():
        yield Choice(address=settings.builder(builder), because=f"buildx's current builder `{builder}`")
    if context := settings.current_context():
        yield Choice(address=settings.context(context), because=f"Docker's current context `{context}`")
    for address, kind in _sockets(environ):
        if Path(address.path).is_socket():
            yield Choice(address=Docker(address) if kind == "docker" else address, because="its socket exists")
    from .local_daemon import find_daemon

    if daemon := find_daemon(environ):
        yield Choice(address=Unix(str(daemon.socket)), because=f"`{daemon.program}` can be started", daemon=daemon)


def engine(*, environ: Mapping[str, str]) -> Docker | None:
    """Return the Docker Engine that `docker` would use: steps 3, 5 and 6 above, whatever BuildKit a build uses."""
    settings = DockerSettings(environ)
    for name, read in (("DOCKER_HOST", settings.host), ("DOCKER_CONTEXT", settings.context)):
        if choice := _choice(environ, name, read):
            return choice.address if isinstance(choice.address, Docker) else None
    if context := settings.current_context():
        return settings.context(context)
    sockets = (address for address, kind in _sockets(environ) if kind == "docker" and Path(address.path).is_socket())
    return next(map(Docker, sockets), None)


def _given(text: str, settings: DockerSettings) -> Choice:
    """Return the choice for `--builder`: an address if `://` is in it, else a buildx builder or a Docker context."""
    address = parse(text) if "://" in text else settings.builder(text)
    return Choice(address=address, because=f"`{text}` was given")


def _choice(environ: Mapping[str, str], name: str, read: Callable[[str], Address]) -> Choice | None:
    value = environ.get(name, "").strip()
    if not value:
        return None
    try:
        return Choice(address=read(value), because=f"{name}={value}")
    except SpecError as error:
        raise SpecError(f"{name}: {error}", hint=error.hint) from None


def _sockets(environ: Mapping[str, str]) -> Iterator[tuple[Unix, str]]:
    runtime, home = environ.get("XDG_RUNTIME_DIR"), environ.get("HOME")
    yield Unix("/var/run/docker.sock"), "docker"
    if runtime:
        yield Unix(f"{runtime}/docker.sock"), "docker"
    if home:
        yield Unix(f"{home}/.docker/run/docker.sock"), "docker"
    yield Unix("/run/buildkit/buildkitd.sock"), "buildkitd"
    if runtime:
        yield Unix(f"{runtime}/buildkit/buildkitd.sock"), "buildkitd"
