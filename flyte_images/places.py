"""What this machine has to serve for a plan -> the user's OCI layout, and where it is there; and the session for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .buildkit.address import Docker
from .buildkit.capabilities import Capabilities
from .buildkit.client import Client
from .buildkit.engine_api import find_image
from .buildkit.session import Session
from .cachedir import layout_dir
from .context import Source, pack
from .errors import BuildError, Location, ResolveError
from .host import host_secrets
from .image import Image
from .oci import Layout
from .origins import STORE, Abilities, Places, blob_name
from .plan import Files, Plan, packages

_CHECKSUM = "source.image.checksum"


def abilities_of(capabilities: Capabilities) -> Abilities:
    """What of an engine's capabilities shapes the graph."""
    return Abilities(
        merge=capabilities.merge,
        layouts=capabilities.oci_layout,
        checksums=_CHECKSUM in capabilities.features,
    )


def places_of(
    image: Image,
    plan: Plan,
    *,
    environ: Mapping[str, str],
    abilities: Abilities = Abilities(),  # noqa: B008 - frozen
) -> Places:
    """Pack what this machine has to serve for `plan` into the user's OCI layout, and say where it is there.

    Raises BuildError when a local file is not any more what the plan says.
    """
    layout = layout_dir(environ)
    files, served = _packed(image, plan, layout), _served(plan, layout)
    blobs: dict[str, tuple[str, ...]] = {}
    if not abilities.layouts:
        bases = (it.reference for it in (plan.base, plan.toolchain) if it is not None and it.origin == "layout")
        for name in {*files.values(), *served.values(), *bases}:
            layers = Layout(layout).manifest(name.partition("@")[2])["layers"]
            blobs[name] = tuple(layer["digest"] for layer in layers)
    return Places(files=files, packages=served, blobs=blobs)


def session_for(places: Places, *, environ: Mapping[str, str]) -> Session:
    """The session of a solve whose graph was made with `places`."""
    layout = layout_dir(environ)
    digests = {digest for layers in places.blobs.values() for digest in layers}
    files = {blob_name(digest): {blob_name(digest): Layout(layout).path(digest)} for digest in digests}
    return Session(stores={STORE: layout}, files=files, secrets=host_secrets(environ))


def check_tags(client: Client, plan: Plan, abilities: Abilities) -> None:
    """Raise ResolveError if a tag of the engine's own store does not name any more what the plan stands on."""
    for base in (plan.base, plan.toolchain):
        if base is None or base.origin != "engine" or abilities.checksums or not isinstance(client.address, Docker):
            continue
        name = base.reference.partition("@")[0]
        found = find_image(client.address, name.removeprefix("docker.io/library/"))
        ids = (found.id, *(it.partition("@")[2] for it in found.digests)) if found else ()
        if base.digest not in ids:
            now = f"is {found.id} now" if found else "is gone"
            said = f"`{name}` in the engine {now}; it was {base.digest}"
            raise ResolveError(said, hint="--upgrade takes what is there")


def _packed(image: Image, plan: Plan, layout: Path) -> dict[tuple[str, str], str]:
    """Local sources as images in the layout, by content and destination."""
    wanted = [(step.layer, step.body) for step in plan.steps if isinstance(step.body, Files)]
    packed: dict[tuple[str, str], str] = {}
    for index in dict.fromkeys(layer for layer, _ in wanted):
        place = image.layers[index].location
        bodies = [body for layer, body in wanted if layer == index]
        for source, body in zip(image.layers[index].local_sources(), bodies, strict=True):
            made = pack([Source(source.path, body.destination, source.patterns)], layout)
            if made.contents != (body.content,):
                raise BuildError(
                    f"`{source.path}` changed while it was read",
                    hint="build again when nothing writes to it",
                    location=place if isinstance(place, Location) else None,
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
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ResolveError(f"`{path}` of {package.name} cannot be read: {error.strerror}") from None
        if found != package.sha256:
            raise ResolveError(
                f"`{path}` is not the file that {package.name} was resolved to: its sha256 is {found}",
                hint="--upgrade resolves the image again",
            )
        served[package.sha256] = pack([Source(path, f"/{package.filename}")], layout).name
    return served
