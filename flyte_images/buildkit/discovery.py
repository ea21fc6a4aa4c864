"""Which BuildKit to use: what the user said, in a fixed order, else what answers.

    1. an address or a builder's name that is given           (--builder, `connect(address)`)
    2. BUILDKIT_HOST                                          (an address)
    3. DOCKER_HOST, else DOCKER_CONTEXT                       (Docker Engine, with DOCKER_TLS_VERIFY, DOCKER_CERT_PATH)
    4. BUILDX_BUILDER, else buildx's current builder
    5. Docker's current context, unless it is `default`
    6. sockets, the first that is there:
       /var/run/docker.sock, $XDG_RUNTIME_DIR/docker.sock, ~/.docker/run/docker.sock,
       /run/buildkit/buildkitd.sock, $XDG_RUNTIME_DIR/buildkit/buildkitd.sock
    7. a `buildkitd` on PATH or in `bin` of the cache directory (store/cache_dir.py), started on demand (ondemand.py)

What is said in 1 to 5 is used or is an error: never another one instead. Reads files, looks for sockets, dials nothing.
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
    """An address, and what named it."""

    address: Address
    because: str
    daemon: Daemon | None = None  # to be started first


def choose(given: str | None, *, environ: Mapping[str, str]) -> Choice:
    """The BuildKit to use. Raises EngineError, with what was looked at, if there is none."""
    found = next(candidates(given, environ=environ), None)
    if found is None:
        looked = ", ".join(str(socket.path) for socket, _ in _sockets(environ))
        raise EngineError(
            "no BuildKit is found: BUILDKIT_HOST and DOCKER_HOST are not set, no builder or context is chosen, "
            f"there is no socket at {looked}, and no `buildkitd` on PATH",
            hint="start Docker Engine (`make engine` installs it), or set BUILDKIT_HOST",
        )
    return found


def candidates(given: str | None, *, environ: Mapping[str, str]) -> Iterator[Choice]:
    """What there is, best first. Only the sockets of the last step may be passed over."""
    settings = DockerSettings(environ)
    said = (
        _given(given, settings) if given else None,
        _choice(environ, "BUILDKIT_HOST", parse),
        _choice(environ, "DOCKER_HOST", settings.host),
        _choice(environ, "DOCKER_CONTEXT", settings.context),
        _choice(environ, "BUILDX_BUILDER", settings.builder),
    )
    yield from (choice for choice in said if choice is not None)
    if builder := settings.current_builder():
        yield Choice(address=settings.builder(builder), because=f"buildx's current builder `{builder}`")
    if context := settings.current_context():
        yield Choice(address=settings.context(context), because=f"Docker's current context `{context}`")
    for address, because in _sockets(environ):
        if Path(address.path).is_socket():
            yield Choice(address=Docker(address) if because == "docker" else address, because="its socket is there")
    from .local_daemon import find_daemon

    if daemon := find_daemon(environ):
        yield Choice(address=Unix(str(daemon.socket)), because=f"`{daemon.program}` can be started", daemon=daemon)


def engine(*, environ: Mapping[str, str]) -> Docker | None:
    """The Docker Engine that `docker` would use: as in 3, 5 and 6 above, whatever is said of BuildKit."""
    settings = DockerSettings(environ)
    for name, read in (("DOCKER_HOST", settings.host), ("DOCKER_CONTEXT", settings.context)):
        if choice := _choice(environ, name, read):
            return choice.address if isinstance(choice.address, Docker) else None
    if context := settings.current_context():
        return settings.context(context)
    sockets = (address for address, kind in _sockets(environ) if kind == "docker" and Path(address.path).is_socket())
    return next(map(Docker, sockets), None)


def _given(text: str, settings: DockerSettings) -> Choice:
    """`--builder`: an address if it looks like one, else the name of a buildx builder or a Docker context."""
    address = parse(text) if "://" in text else settings.builder(text)
    return Choice(address=address, because=f"`{text}` was asked for")


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
