"""What this machine has to serve for a plan -> the user's OCI layout, and where it is there; and the session for it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flyte_images_layers.steps import Deb, Sdist, Wheel

from ..buildkit.address import Docker
from ..buildkit.capabilities import Capabilities
from ..buildkit.client import Client
from ..buildkit.engine_api import find_image
from ..buildkit.session import Session
from ..context import Source, pack
from ..errors import BuildError, Location, ResolveError
from ..image import Image
from ..plan.model import Files, Plan, files_of
from ..plan.sources import STORE, Abilities, Places, blob_name
from ..store.cache_dir import layout_dir
from ..store.leftovers import temporary_directory
from ..store.oci_layout import Layout
from .host_settings import host_secrets, step_secrets
from .index_logins import indexes_of, login

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
    serve_all: bool = False,
) -> Places:
    """Pack what this machine has to serve for `plan` into the user's OCI layout, and say where it is there.

    That is local files, and packages that are on this machine or behind a login of its; all packages with `serve_all`.
    Raises BuildError when a local file is not any more what the plan says, ResolveError for a package that cannot be
    had.
    """
    layout = layout_dir(environ)
    files, served = _packed(image, plan, layout), _served(image, plan, layout, environ, serve_all=serve_all)
    blobs: dict[str, tuple[str, ...]] = {}
    if not abilities.layouts:
        bases = (it.reference for it in (plan.base, plan.toolchain) if it is not None and it.origin == "layout")
        for name in {*files.values(), *served.values(), *bases}:
            layers = Layout(layout).manifest(name.partition("@")[2])["layers"]
            blobs[name] = tuple(layer["digest"] for layer in layers)
    return Places(files=files, packages=served, blobs=blobs)


def session_for(places: Places, *, environ: Mapping[str, str], plan: Plan | None = None) -> Session:
    """The session of a solve whose graph was made of `plan` with `places`.

    Raise SpecError, with the user's line, for a secret that a command asks for and that has no value here.
    """
    own = step_secrets(plan, environ) if plan is not None else {}
    layout = layout_dir(environ)
    digests = {digest for layers in places.blobs.values() for digest in layers}
    files = {blob_name(digest): {blob_name(digest): Layout(layout).path(digest)} for digest in digests}
    return Session(stores={STORE: layout}, files=files, secrets=host_secrets(environ) | own)


def check_tags(client: Client, plan: Plan, abilities: Abilities) -> None:
    """Raise ResolveError if a tag of the engine's own store does not name any more what the plan stands on."""
    for base in (plan.base, plan.toolchain):
        if base is None or base.origin != "engine" or abilities.checksums or not isinstance(client.address, Docker):
            continue
        name = base.reference.partition("@")[0]
        found = find_image(client.address, name.removeprefix("docker.io/library/"))
        ids = (found.id, *(it.partition("@")[2] for it in found.digests)) if found else ()
        if base.digest not in ids:
            raise moved(name, found.id if found else None, base.digest)


def moved(name: str, now: str | None, was: str) -> ResolveError:
    """The error of a tag in the engine's own store that names something else than it did."""
    said = f"`{name}` in the engine {f'is {now} now' if now else 'is gone'}; it was {was}"
    return ResolveError(said, hint="--upgrade takes what is there")


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


def _served(image: Image, plan: Plan, layout: Path, environ: Mapping[str, str], *, serve_all: bool) -> dict[str, str]:
    """Package files that no engine can fetch, as images in the layout."""
    served: dict[str, str] = {}
    indexes = indexes_of(layer.python_requirements() for layer in image.layers)
    for step in plan.steps:
        for package in files_of(step.body):
            try:
                name = _serve(package, layout, environ, indexes, serve_all=serve_all)
            except ResolveError as error:
                error.location = step.location
                raise
            if name is not None:
                served[package.sha256] = name
    return served


def _serve(
    package: Wheel | Sdist | Deb,
    layout: Path,
    environ: Mapping[str, str],
    indexes: tuple[str, ...],
    *,
    serve_all: bool,
) -> str | None:
    """The image that holds a package file, if it is one to be served."""
    address = urlsplit(package.url)
    if address.scheme not in ("http", "https"):
        return _local(package, Path(unquote(address.path)), layout)
    if not serve_all and address.username is None and not _is_private(package.url, environ, indexes):
        return None
    from .download import fetch

    with temporary_directory("fetch") as place:
        path = fetch(package, Path(place), environ, indexes=indexes)
        return pack([Source(path, f"/{package.filename}")], layout).name


def _is_private(url: str, environ: Mapping[str, str], indexes: tuple[str, ...]) -> bool:
    """Whether this machine has a login for the origin of an address."""
    parts = urlsplit(url)
    settings = tuple(sorted(pair for pair in environ.items() if pair[0].startswith(_LOGIN_SETTINGS)))
    return _has_login(f"{parts.scheme}://{parts.netloc}/", settings, indexes)


@functools.lru_cache
def _has_login(url: str, settings: tuple[tuple[str, str], ...], indexes: tuple[str, ...]) -> bool:
    return login(url, dict(settings), indexes) is not None


_LOGIN_SETTINGS = ("UV_", "PIP_", "NETRC", "HOME")


def _local(package: Wheel | Sdist | Deb, path: Path, layout: Path) -> str:
    """A package file on this machine, if it is still what its hash says."""
    from .download import open_local

    try:
        with open_local(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ResolveError(f"`{path}` of {package.name} cannot be read: {error.strerror}") from None
    if found != package.sha256:
        raise ResolveError(
            f"`{path}` is not the file that {package.name} was resolved to: its sha256 is {found}",
            hint="--upgrade resolves the image again",
        )
    return pack([Source(path, f"/{package.filename}")], layout).name
