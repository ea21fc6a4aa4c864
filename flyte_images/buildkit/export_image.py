"""A graph -> an image where it is of use, whatever the engine can keep: in its store, in a registry, in Docker's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import EngineError
from .address import Docker
from .caches import Cache
from .capabilities import Capabilities
from .client import Client
from .events import Event
from .exporters import Exporter, Image, Load, Moby, Packing
from .load import Take
from .session import Session
from .solve import SolveResult

_PLAIN = '{"architecture":"amd64","os":"linux","config":{}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the image is called, everywhere, and how it is packed.

    `push` sends it to the registries of its names, `keep` is for tasks that run here: it ends in a store. A BuildKit
    without a store of its own gives the image to `into` (load.py) then.
    """

    names: tuple[str, ...]
    packing: Packing = field(default_factory=Packing)
    push: bool = False
    keep: bool = True
    insecure: bool = False
    into: Callable[[], Take] | None = None


def deliver(
    client: Client,
    definition: bytes,
    target: Target,
    *,
    session: Session | None = None,
    cache_imports: Sequence[Cache] = (),
    cache_exports: Sequence[Cache] = (),
    on_event: Callable[[Event], None] | None = None,
    timeout: float | None = None,
    internal: bool = True,
) -> SolveResult:
    """Build a graph and bring the image to where `target` wants it.

    Raises EngineError before anything is sent if this engine has no way to get it there.
    """
    capabilities = client.capabilities()
    result = client.solve(
        definition,
        session=session,
        exporters=exporters(capabilities, target),
        cache_imports=cache_imports,
        cache_exports=cache_exports,
        on_event=on_event,
        timeout=timeout,
        internal=internal,
    )
    if capabilities.image_store == "docker-graphdriver" and isinstance(client.address, Docker):
        return _finish_by_docker(client.address, target, result, session or Session())
    return result


def exporters(capabilities: Capabilities, target: Target) -> tuple[Exporter, ...]:
    """What the engine has to be asked for.

    The image is unpacked where it is kept, as the first container would do that otherwise, and seem slow.
    """
    if not target.push and not target.keep:
        raise EngineError("the image would be kept nowhere", hint="push it, or keep it")
    match capabilities.image_store:
        case "docker-graphdriver":
            return (Moby(names=(), packing=target.packing),)  # named when it has its configuration
        case "none":
            found: list[Exporter] = []
            if target.push:
                found.append(_image(target, unpack=False))
            if target.keep and target.into is not None:
                found.append(Load(into=target.into(), names=target.names, packing=target.packing))
            return tuple(found) or (_image(target, unpack=False),)  # refused, with what to do instead
        case _:
            return (_image(target, unpack=target.keep),)


def _image(target: Target, *, unpack: bool) -> Image:
    return Image(
        names=target.names,
        packing=target.packing,
        push=target.push,
        insecure=target.insecure,
        unpack=unpack,
        store=target.keep or unpack,
    )


def _finish_by_docker(engine: Docker, target: Target, result: SolveResult, session: Session) -> SolveResult:
    """What the old store's exporter does not do: give the image its configuration and its names, and push it.

    Its engine does. The digest is the image's id then: this store knows no manifests.
    """
    from .engine_api import configure_image

    id = result.exporter_response["containerimage.config.digest"]
    made = configure_image(engine, id, target.packing.config or _PLAIN, target.names)
    if target.push:
        _push_by_docker(engine, target.names, session)
    return SolveResult(
        {**result.exporter_response, "containerimage.digest": made, "containerimage.config.digest": made}
    )


def _push_by_docker(engine: Docker, names: Sequence[str], session: Session) -> None:
    from .engine_api import push_image

    for name in names:
        host = name.partition("/")[0]
        found = session.logins("registry-1.docker.io" if host == "docker.io" else host)
        login: Mapping[str, str] = {}
        if found is not None:
            login = {"username": found.username, "password": found.secret, "serveraddress": host}
            if not found.username:
                login = {"identitytoken": found.secret, "serveraddress": host}
        push_image(engine, name, login=login)
