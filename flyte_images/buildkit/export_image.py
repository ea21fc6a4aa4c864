"""A graph -> an image where the user wants it: in the engine's store, in a registry, in Docker's or Podman's store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flyte_images_runtime.system.image_ref import ImageRef

from ..errors import EngineError
from .address import Docker
from .caches import Cache
from .capabilities import Capabilities
from .client import Client
from .events import Event
from .exporters import Exporter, Image, Load, Moby, Packing
from .load import ImageLoader
from .session import Session
from .solve import SolveResult

_PLAIN = '{"architecture":"amd64","os":"linux","config":{}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The full names of the image, how the image is packed, and where the image goes.

    `push` sends the image to the registries of its names. `keep` puts the image into a store, where tasks find it. A
    BuildKit without an image store sends the image to the loader that `into` returns (load.py).
    """

    names: tuple[str, ...]
    packing: Packing = field(default_factory=Packing)
    push: bool = False
    keep: bool = True
    insecure: bool = False
    into: Callable[[], ImageLoader] | None = None


def export_image(
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
    """Build a graph and export the image to `target`.

    Raises EngineError before anything is sent if this engine cannot export the image to `target`.
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
    """Return the exporters for `target` on an engine with these capabilities.

    An image that is kept is also unpacked; otherwise the first container would unpack the image and start slowly.
    """
    if not target.push and not target.keep:
        raise EngineError("the image is neither pushed nor kept", hint="set push=True or keep=True")
    match capabilities.image_store:
        case "docker-graphdriver":
            return (Moby(names=(), packing=target.packing),)  # named later, with the configuration
        case "none":
            chosen: list[Exporter] = []
            if target.push:
                chosen.append(_image(target, unpack=False))
            if target.keep and target.into is not None:
                chosen.append(Load(into=target.into(), names=target.names, packing=target.packing))
            return tuple(chosen) or (_image(target, unpack=False),)  # check_output refuses it, with a hint
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
    """Let the engine do what the exporter of the old store does not do: set configuration and names, and push.

    The returned digest is the image's id: the old store has no manifests.
    """
    from .engine_api import configure_image

    exported = result.exporter_response["containerimage.config.digest"]
    id = configure_image(engine, exported, target.packing.config or _PLAIN, target.names)
    if target.push:
        _push_by_docker(engine, target.names, session)
    return SolveResult({**result.exporter_response, "containerimage.digest": id, "containerimage.config.digest": id})


def _push_by_docker(engine: Docker, names: Sequence[str], session: Session) -> None:
    from .engine_api import push_image

    for name in names:
        host = ImageRef.parse(name).registry
        login = session.logins("registry-1.docker.io" if host == "docker.io" else host)
        fields: Mapping[str, str] = {}
        if login is not None:
            fields = {"username": login.username, "password": login.secret, "serveraddress": host}
            if not login.username:
                fields = {"identitytoken": login.secret, "serveraddress": host}
        push_image(engine, name, login=fields)
