"""The sources of a plan that this machine serves, packed into the user's OCI layout, and the session for them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from flyte_images_layers.steps import Deb, Sdist, Wheel
from flyte_images_runtime.system.image_ref import ImageRef

from ..buildkit.address import Docker
from ..buildkit.capabilities import Capabilities
from ..buildkit.client import Client
from ..buildkit.engine_api import find_image
from ..buildkit.session import Session
from ..context import Source, pack
from ..errors import BuildError, Location, ResolveError
from ..image import Image
from ..plan.model import Files, Plan, files_of
from ..plan.sources import STORE, EngineFeatures, SourceMap, blob_name
from ..store.cache_dir import layout_dir
from ..store.leftovers import temporary_directory
from ..store.oci_layout import Layout
from .host_settings import host_secrets, step_secrets
from .index_logins import find_login, indexes_of

_CHECKSUM = "source.image.checksum"


def engine_features(capabilities: Capabilities) -> EngineFeatures:
    """Return the features of an engine that shape the graph."""
    return EngineFeatures(
        merge=capabilities.merge,
        layouts=capabilities.oci_layout,
        checksums=_CHECKSUM in capabilities.features,
    )


def serve_sources(
    image: Image,
    plan: Plan,
    *,
    environ: Mapping[str, str],
    features: EngineFeatures = EngineFeatures(),  # noqa: B008 - frozen
    serve_all: bool = False,
) -> SourceMap:
    """Pack the sources of `plan` that this machine serves into the user's OCI layout, and return their names there.

    These are local files, packages on this machine, and packages for which this machine has a login; with `serve_all`,
    all packages. Raise BuildError if a local file has changed since the plan was made, ResolveError if a package is not
    available.
    """
    layout = layout_dir(environ)
    files, served = (
        _pack_local_sources(image, plan, layout),
        _pack_packages(image, plan, layout, environ, serve_all=serve_all),
    )
    blobs: dict[str, tuple[str, ...]] = {}
    if not features.layouts:
        bases = (base.reference for base in (plan.base, plan.toolchain) if base is not None and base.origin == "layout")
        for name in {*files.values(), *served.values(), *bases}:
            layers = Layout(layout).manifest(ImageRef.parse(name).digest)["layers"]
            blobs[name] = tuple(layer["digest"] for layer in layers)
    return SourceMap(files=files, packages=served, blobs=blobs)


def session_for(source_map: SourceMap, *, environ: Mapping[str, str], plan: Plan | None = None) -> Session:
    """Return the session of a solve whose graph was made of `plan` with `source_map`.

    Raise SpecError, with the user's line, if a secret of a command has no value on this machine.
    """
    secrets = step_secrets(plan, environ) if plan is not None else {}
    layout = layout_dir(environ)
    digests = {digest for layers in source_map.blobs.values() for digest in layers}
    files = {blob_name(digest): {blob_name(digest): Layout(layout).path(digest)} for digest in digests}
    return Session(stores={STORE: layout}, files=files, secrets=host_secrets(environ) | secrets)


def check_tags(client: Client, plan: Plan, features: EngineFeatures) -> None:
    """Raise ResolveError if a tag in the engine's own store no longer names the base of the plan."""
    for base in (plan.base, plan.toolchain):
        if base is None or base.origin != "engine" or features.checksums or not isinstance(client.address, Docker):
            continue
        name = str(ImageRef.parse(base.reference)._replace(digest=""))
        image = find_image(client.address, name)
        ids = (image.id, *(ImageRef.parse(digest).digest for digest in image.digests)) if image else ()
        if base.digest not in ids:
            raise moved_tag_error(name, image.id if image else None, base.digest)


def moved_tag_error(name: str, now: str | None, was: str) -> ResolveError:
    """Return the error for a tag that moved or vanished in the engine's own store."""
    message = f"`{name}` in the engine {f'is {now} now' if now else 'is gone'}; it was {was}"
    return ResolveError(message, hint="use the current image: --upgrade")


def _pack_local_sources(image: Image, plan: Plan, layout: Path) -> dict[tuple[str, str], str]:
    """Pack local sources; return their names in the layout, by content and destination."""
    bodies = [(step.layer, step.body) for step in plan.steps if isinstance(step.body, Files)]
    packed: dict[tuple[str, str], str] = {}
    for index in dict.fromkeys(layer for layer, _ in bodies):
        location = image.layers[index].location
        of_layer = [body for layer, body in bodies if layer == index]
        for source, body in zip(image.layers[index].local_sources(), of_layer, strict=True):
            image_of_files = pack([Source(source.path, body.destination, source.patterns)], layout)
            if image_of_files.contents != (body.content,):
                raise BuildError(
                    f"`{source.path}` changed while it was read",
                    hint="build again when no program writes to it",
                    location=location if isinstance(location, Location) else None,
                )
            packed[body.content, body.destination] = image_of_files.name
    return packed


def _pack_packages(
    image: Image, plan: Plan, layout: Path, environ: Mapping[str, str], *, serve_all: bool
) -> dict[str, str]:
    """Pack the package files that the engine cannot fetch; return their names in the layout, by sha256."""
    served: dict[str, str] = {}
    indexes = indexes_of(layer.python_requirements() for layer in image.layers)

    @functools.cache
    def needs_login(origin: str) -> bool:
        return find_login(origin, environ, indexes) is not None

    def is_public(url: SplitResult) -> bool:
        return url.username is None and not needs_login(f"{url.scheme}://{url.netloc}/")

    for step in plan.steps:
        for package in files_of(step.body):
            url = urlsplit(package.url)
            is_remote = url.scheme in ("http", "https")
            if is_remote and not serve_all and is_public(url):
                continue  # the engine fetches the file
            try:
                if is_remote:
                    served[package.sha256] = _pack_download(package, layout, environ, indexes)
                else:
                    served[package.sha256] = _pack_local_package(package, Path(unquote(url.path)), layout)
            except ResolveError as error:
                error.location = step.location
                raise
    return served


def _pack_download(
    package: Wheel | Sdist | Deb, layout: Path, environ: Mapping[str, str], indexes: tuple[str, ...]
) -> str:
    """Download a package file and pack it; return the name of the image that holds the file."""
    from .download import download

    with temporary_directory("fetch") as folder:
        path = download(package, Path(folder), environ, indexes=indexes)
        return pack([Source(path, f"/{package.filename}")], layout).name


def _pack_local_package(package: Wheel | Sdist | Deb, path: Path, layout: Path) -> str:
    """Pack a package file of this machine. Raise ResolveError if its hash has changed."""
    from .download import open_local

    try:
        with open_local(path) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ResolveError(f"`{path}` of {package.name} cannot be read: {error.strerror}") from None
    if sha256 != package.sha256:
        raise ResolveError(
            f"`{path}` is not the file that {package.name} was resolved to: its sha256 is {sha256}",
            hint="resolve the image again: --upgrade",
        )
    return pack([Source(path, f"/{package.filename}")], layout).name
