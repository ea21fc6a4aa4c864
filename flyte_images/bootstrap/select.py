"""The base that the user wrote -> the image to build on.

The search goes through this machine's cache, the engine's store and the registry, in this order. If none of them has a
Debian base, one is made from Debian's archive. The result is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, assert_never

from flyte_images_layers import Base, DebianBase, ReferenceBase
from flyte_images_runtime.system.platform import Platform

from ..buildkit.address import Docker
from ..buildkit.build_context import BuildContext
from ..buildkit.client import Client
from ..buildkit.discovery import engine as docker_engine
from ..buildkit.engine_api import find_image
from ..buildkit.failure import ConnectionLostError
from ..buildkit.save import save
from ..errors import EngineError, ResolveError
from ..store.cache_dir import layout_dir
from ..store.oci_layout import Layout
from .base_image import BaseImage
from .base_record import record_base, recorded_base
from .catalog import SUITES, newest
from .engine_store import StoredImage, find_in_store, full_name
from .image_config import check_config
from .make import bootstrap, this_architecture

_LIBC = {"bookworm": "2.36", "trixie": "2.41"}
_PATIENCE = 8.0  # seconds for a registry to resolve a tag; without a route to it the engine fails at once


def find_base(
    base: Base,
    platform: str,
    context: BuildContext,
    *,
    refresh: bool = False,
) -> BaseImage:
    """Return the image to use for `base` on `platform` (`linux/amd64`), and record it.

    A recorded image is used as long as it exists; `refresh` looks it up again. Raise ResolveError if no source has the
    image, EngineError if the engine does not answer.
    """
    if not refresh and (known := recorded_base(base, platform, context.environ)) is not None:
        return known
    match base:
        case DebianBase():
            found = _debian(base.python, platform, context)
        case ReferenceBase():
            found = _reference(base.reference, platform, context)
        case _:
            assert_never(base)
    record_base(base, platform, found, environ=context.environ)
    context.note(f"base: {found.description}")
    return found


def _debian(python: str, platform: str, context: BuildContext) -> BaseImage:
    wanted = Platform.parse(platform)
    made = newest(context.environ, python=python, architecture=wanted.architecture)
    if made is not None:
        return made.base_image(environ=context.environ)
    engine = context.connect()
    for suite in SUITES:
        name = f"docker.io/library/python:{python}-slim-{suite}"
        if stored := find_in_store(engine, name, platform):
            return _official_python(python, suite, "engine", stored)
    name = f"docker.io/library/python:{python}-slim-bookworm"
    answer = _registry(engine, name, platform)
    if isinstance(answer, StoredImage):
        return _official_python(python, "bookworm", "registry", answer)
    suite = next((suite for suite, version in SUITES.items() if version == python), "")
    if suite and (wanted.os, wanted.architecture) == ("linux", this_architecture()):
        context.note(f"base: {_short_name(name)} is not available ({answer}), so debian {suite} is bootstrapped")
        made = bootstrap(suite, environ=context.environ, note=context.note, rebuild=False)
        return made.base_image(environ=context.environ)
    offers = ", ".join(f"debian {suite} has {version}" for suite, version in SUITES.items())
    raise ResolveError(
        f"no base with python {python} for {platform} is available: the engine has no `{_short_name(name)}`; "
        f"its registry: {answer}; to bootstrap on linux/{this_architecture()}, {offers}",
        hint=f"load `{_short_name(name)}` into the engine, use an available version, or name an image: from_base(...)",
    )


def _reference(reference: str, platform: str, context: BuildContext) -> BaseImage:
    name = full_name(reference)
    engine = context.connect()
    stored = find_in_store(engine, name, platform)
    if stored is not None:
        return _named_image("engine", stored, f"{reference} in the engine")
    if (copied := _copy_from_docker(engine, name, platform, context.environ)) is not None:
        return _named_image("layout", copied, f"{reference} from Docker's store")
    answer = _registry(engine, name, platform)
    if isinstance(answer, StoredImage):
        return _named_image("registry", answer, f"{reference} from its registry")
    raise ResolveError(
        f"the image `{reference}` for {platform} is neither in the engine nor available from its registry: {answer}",
        hint="check the name; `docker login` for a private registry; or load the image into the engine",
    )


def _copy_from_docker(engine: Client, name: str, platform: str, environ: Mapping[str, str]) -> StoredImage | None:
    """Copy an image from Docker's store to the layout; None if BuildKit is Docker's own or Docker lacks the image."""
    docker = None if isinstance(engine.address, Docker) else docker_engine(environ=environ)
    if docker is None or find_image(docker, name.removeprefix("docker.io/library/")) is None:
        return None
    layout = Layout(layout_dir(environ))
    digest = save(docker, name.removeprefix("docker.io/library/"), platform, layout)
    if digest is None:
        return None
    config = check_config(layout.read(layout.manifest(digest)["config"]["digest"]), name)
    slug = re.sub(r"[^a-z0-9]+", "-", name.partition("@")[0]).strip("-")
    return StoredImage(reference=f"local/{slug}@{digest}", digest=digest, config=config)


def _registry(engine: Client, name: str, platform: str) -> StoredImage | str:
    """Return the image from its registry, or the reason why it is not available, in words."""
    try:
        digest, config = engine.resolve_image(name, platform=platform, timeout=_PATIENCE)
    except ConnectionLostError:
        raise
    except EngineError as error:
        return _reason(str(error))
    return StoredImage(reference=f"{name.partition('@')[0]}@{digest}", digest=digest, config=check_config(config, name))


def _reason(message: str) -> str:
    """Return BuildKit's message about a registry without its constant parts.

    >>> _reason('refused: failed to do request: Head "https://r.test/v2/x/manifests/1": dial tcp: no such host')
    'dial tcp: no such host'
    >>> _reason("the BuildKit at unix:///x does not answer")
    'it does not answer'
    """
    if message.endswith("does not answer"):
        return "it does not answer"
    return re.sub(
        r'^.*(failed to do request: (\w+ "[^"]*": )?|refused: (failed to resolve .*? for \S+: )?)', "", message
    )


def _official_python(python: str, suite: str, origin: Literal["engine", "registry"], image: StoredImage) -> BaseImage:
    place = "in the engine" if origin == "engine" else "from the registry"
    return BaseImage(
        origin=origin,
        reference=image.reference,
        digest=image.digest,
        config=image.config,
        python=python,
        python_path=f"/usr/local/bin/python{python}",
        libc=_LIBC[suite],
        description=f"python:{python}-slim-{suite} {place}",
    )


def _named_image(origin: Literal["layout", "engine", "registry"], image: StoredImage, description: str) -> BaseImage:
    version = re.search(r'"PYTHON_VERSION=(3\.\d+)', image.config)
    return BaseImage(
        origin=origin,
        reference=image.reference,
        digest=image.digest,
        config=image.config,
        python=version[1] if version else "",
        description=description,
    )


def _short_name(name: str) -> str:
    return name.removeprefix("docker.io/library/")
