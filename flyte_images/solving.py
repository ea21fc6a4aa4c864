"""Plan -> image: packs local files, lowers the plan, has the engine solve it, and says what came out."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flyte_images_layers.steps import Deb, Wheel

from . import llb
from .buildkit.address import Docker
from .buildkit.client import Client
from .buildkit.deliver import Target, deliver
from .buildkit.engine_api import find_image
from .buildkit.events import Event, Vertex
from .buildkit.exporters import Packing
from .buildkit.load import find_store
from .buildkit.session import Session
from .cachedir import layout_dir
from .context import Source, pack
from .errors import BuildError, ResolveError
from .host import host_secrets
from .image import Image
from .lower import CHECKSUM, STORE, Lowering, Places, configuration
from .plan import Debs, Files, Plan, Wheels


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a solve gave: the manifest's digest, and whether no step had to be run."""

    digest: str
    plan: Plan
    cached: bool


def solve_plan(
    image: Image,
    plan: Plan,
    ref: str,
    *,
    client: Client,
    environ: Mapping[str, str],
    push: bool,
    no_cache: bool,
    on_event: Callable[[Event], None],
) -> Outcome:
    """Solve `plan` and export it under `ref`."""
    capabilities = client.capabilities()
    capabilities.check_platform(plan.platform)
    if CHECKSUM not in capabilities.features:
        check_tags(client, plan)
    places = places_of(image, plan, environ=environ)
    state = Lowering(features=capabilities.features, no_cache=no_cache).lower(plan, places)
    definition = llb.marshal(state, sources=_sources(plan))
    watched = _Watched(on_event)
    packing = Packing(
        config=configuration(plan),
        base_config=plan.base.config,
        compression="zstd",
        compression_level=1,
        epoch=_created(plan),
    )
    target = Target(names=(ref,), packing=packing, push=push, into=lambda: find_store(environ))
    result = deliver(
        client,
        definition.data,
        target,
        session=Session(stores={STORE: layout_dir(environ)}, secrets=host_secrets(environ)),
        on_event=watched,
    )
    digest = result.exporter_response.get("containerimage.digest", "")
    if not digest:
        raise BuildError(f"the engine says nothing of the image that it was to make: {dict(result.exporter_response)}")
    return Outcome(digest=digest, plan=plan, cached=not watched.ran)


def check_tags(client: Client, plan: Plan) -> None:
    """Raise ResolveError if a tag of the engine's own store does not name any more what the plan stands on."""
    for base in (plan.base, plan.toolchain):
        if base is None or base.origin != "engine" or not isinstance(client.address, Docker):
            continue
        name = base.reference.partition("@")[0]
        found = find_image(client.address, name.removeprefix("docker.io/library/"))
        ids = (found.id, *(it.partition("@")[2] for it in found.digests)) if found else ()
        if base.digest not in ids:
            now = f"is {found.id} now" if found else "is gone"
            raise ResolveError(
                f"`{name}` in the engine {now}; it was {base.digest}", hint="--upgrade takes what is there"
            )


def places_of(image: Image, plan: Plan, *, environ: Mapping[str, str]) -> Places:
    """Pack what this machine has to serve for `plan` into the user's OCI layout, and say where it is there.

    Raises BuildError when a local file is not any more what the plan says.
    """
    layout = layout_dir(environ)
    return Places(files=_packed(image, plan, layout), packages=_served(plan, layout))


@dataclass(slots=True)
class _Watched:
    """Passes events on, and notes whether any of our steps was run."""

    on_event: Callable[[Event], None]
    ran: bool = False
    _seen: set[str] = field(default_factory=set)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Vertex) and event.group_id:
            if event.cached:
                self._seen.discard(event.digest)
            elif event.completed is not None:
                self._seen.add(event.digest)
            self.ran = bool(self._seen)
        self.on_event(event)


def _packed(image: Image, plan: Plan, layout: Path) -> dict[tuple[str, str], str]:
    """Local sources as images in the layout, by content and destination."""
    wanted = [(step.layer, step.body) for step in plan.steps if isinstance(step.body, Files)]
    packed: dict[tuple[str, str], str] = {}
    for index in dict.fromkeys(layer for layer, _ in wanted):
        sources = image.layers[index].local_sources()
        bodies = [body for layer, body in wanted if layer == index]
        for source, body in zip(sources, bodies, strict=True):
            made = pack([Source(source.path, body.destination, source.patterns)], layout)
            if made.contents != (body.content,):
                raise BuildError(
                    f"`{source.path}` changed while it was read",
                    hint="build again when nothing writes to it",
                    location=image.layers[index].location,  # type: ignore[arg-type]
                )
            packed[body.content, body.destination] = made.name
    return packed


def _served(plan: Plan, layout: Path) -> dict[str, str]:
    """Package files that lie on this machine, where no engine can fetch them, as images in the layout."""
    served: dict[str, str] = {}
    for package in packages(plan):
        address = urlsplit(package.url)
        if address.scheme in ("http", "https"):
            continue
        path = Path(unquote(address.path))
        try:
            found = hashlib.file_digest(path.open("rb"), "sha256").hexdigest()
        except OSError as error:
            raise ResolveError(f"`{path}` of {package.name} cannot be read: {error.strerror}") from None
        if found != package.sha256:
            raise ResolveError(
                f"`{path}` is not the file that {package.name} was resolved to: its sha256 is {found}",
                hint="--upgrade resolves the image again",
            )
        served[package.sha256] = pack([Source(path, f"/{package.filename}")], layout).name
    return served


def packages(plan: Plan) -> Iterable[Wheel | Deb]:
    """Every package file of a plan."""
    for step in plan.steps:
        match step.body:
            case Wheels(wheels=wheels):
                yield from wheels
            case Debs(debs=debs):
                yield from debs


def _sources(plan: Plan) -> dict[str, bytes]:
    """The user's files that are named by steps, for the engine to quote."""
    files = {step.location.file for step in plan.steps if step.location is not None}
    return {name: Path(name).read_bytes() for name in files if os.path.isfile(name)}  # noqa: PTH113


def _created(plan: Plan) -> int:
    """When the image says that it was made, in seconds since 1970: when its base was, on whatever day it is built."""
    text = str(plan.base.configuration.get("created") or "1980-01-01T00:00:00Z")
    return int(datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00")).timestamp())
