"""A base as the user wrote it -> the image to stand on. Asks this machine's cache, the engine, a registry, in this
order, and makes a base from Debian's archive where they have none; what was found is remembered."""

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
from .base_record import known_base, remember
from .catalog import SUITES, newest
from .engine_store import Stored, full_name, in_store
from .image_config import checked
from .make import bootstrap, this_architecture

_LIBC = {"bookworm": "2.36", "trixie": "2.41"}
_PATIENCE = 8.0  # seconds for a registry to tell what a tag is; without a route to it the engine says so at once


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
    if not refresh and (known := known_base(base, platform, context.environ)) is not None:
        return known
    match base:
        case DebianBase():
            found = _debian(base.python, platform, context)
        case ReferenceBase():
            found = _reference(base.reference, platform, context)
        case _:
            assert_never(base)
    remember(base, platform, found, environ=context.environ)
    context.note(f"base: {found.description}")
    return found


def _debian(python: str, platform: str, context: BuildContext) -> BaseImage:
    wanted = Platform.parse(platform)
    made = newest(context.environ, python=python, architecture=wanted.architecture)
    if made is not None:
        return made.found(environ=context.environ)
    engine = context.connect()
    for suite in SUITES:
        name = f"docker.io/library/python:{python}-slim-{suite}"
        if stored := in_store(engine, name, platform):
            return _official(python, suite, "engine", stored)
    name = f"docker.io/library/python:{python}-slim-bookworm"
    answer = _registry(engine, name, platform)
    if isinstance(answer, Stored):
        return _official(python, "bookworm", "registry", answer)
    suite = next((suite for suite, version in SUITES.items() if version == python), "")
    if suite and (wanted.os, wanted.architecture) == ("linux", this_architecture()):
        context.note(f"base: {_shown(name)} is not to be had ({answer}), so debian {suite} is bootstrapped")
        made = bootstrap(suite, environ=context.environ, note=context.note, again=False)
        return made.found(environ=context.environ)
    offers = ", ".join(f"debian {suite} has {version}" for suite, version in SUITES.items())
    raise ResolveError(
        f"no base with python {python} for {platform} is to be had: the engine has no `{_shown(name)}`; "
        f"its registry: {answer}; to bootstrap on linux/{this_architecture()}, {offers}",
        hint=f"load `{_shown(name)}` into the engine, take a version that is there, or name an image: from_base(...)",
    )


def _reference(reference: str, platform: str, context: BuildContext) -> BaseImage:
    name = full_name(reference)
    engine = context.connect()
    stored = in_store(engine, name, platform)
    if stored is not None:
        return _any("engine", stored, f"{reference} in the engine")
    if (copied := _of_docker(engine, name, platform, context.environ)) is not None:
        return _any("layout", copied, f"{reference} of Docker's store")
    answer = _registry(engine, name, platform)
    if isinstance(answer, Stored):
        return _any("registry", answer, f"{reference} from its registry")
    raise ResolveError(
        f"the image `{reference}` for {platform} is neither in the engine nor to be had from its registry: {answer}",
        hint="check the name; `docker login` for a private registry; or load the image into the engine",
    )


def _of_docker(engine: Client, name: str, platform: str, environ: Mapping[str, str]) -> Stored | None:
    """The image in Docker's store, brought to this machine's layout, where BuildKit is another one than Docker's."""
    docker = None if isinstance(engine.address, Docker) else docker_engine(environ=environ)
    if docker is None or find_image(docker, name.removeprefix("docker.io/library/")) is None:
        return None
    layout = Layout(layout_dir(environ))
    digest = save(docker, name.removeprefix("docker.io/library/"), platform, layout)
    if digest is None:
        return None
    config = checked(layout.read(layout.manifest(digest)["config"]["digest"]), name)
    called = re.sub(r"[^a-z0-9]+", "-", name.partition("@")[0]).strip("-")
    return Stored(reference=f"local/{called}@{digest}", digest=digest, config=config)


def _registry(engine: Client, name: str, platform: str) -> Stored | str:
    """The image in its registry, or in words why it is not to be had."""
    try:
        digest, config = engine.resolve_image(name, platform=platform, timeout=_PATIENCE)
    except ConnectionLostError:
        raise
    except EngineError as error:
        return _reason(str(error))
    return Stored(reference=f"{name.partition('@')[0]}@{digest}", digest=digest, config=checked(config, name))


def _reason(said: str) -> str:
    """What BuildKit says of a registry, without what everybody knows.

    >>> _reason('refused: failed to do request: Head "https://r.test/v2/x/manifests/1": dial tcp: no such host')
    'dial tcp: no such host'
    >>> _reason("the BuildKit at unix:///x does not answer")
    'it does not answer'
    """
    if said.endswith("does not answer"):
        return "it does not answer"
    return re.sub(r'^.*(failed to do request: (\w+ "[^"]*": )?|refused: (failed to resolve .*? for \S+: )?)', "", said)


def _official(python: str, suite: str, origin: Literal["engine", "registry"], image: Stored) -> BaseImage:
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


def _any(origin: Literal["layout", "engine", "registry"], image: Stored, description: str) -> BaseImage:
    version = re.search(r'"PYTHON_VERSION=(3\.\d+)', image.config)
    return BaseImage(
        origin=origin,
        reference=image.reference,
        digest=image.digest,
        config=image.config,
        python=version[1] if version else "",
        description=description,
    )


def _shown(name: str) -> str:
    return name.removeprefix("docker.io/library/")
