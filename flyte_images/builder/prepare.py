"""Image -> Plan: read local files, find the base, resolve names. An engine is asked only for unknown facts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from flyte_images_layers import Base, DebianBase, Layer, digest

from ..bootstrap.base_image import BaseImage
from ..bootstrap.base_record import recorded_base
from ..buildkit.build_context import BuildContext
from ..errors import ResolveError, SpecError
from ..image import Image
from ..plan.lock import Lock, loads
from ..plan.model import Plan, packages
from ..plan.planner import plan
from ..resolve.resolver import resolve
from ..store import json_cache
from ..store.cache_dir import layout_dir
from ..store.oci_layout import Layout

LOCK_NAME = "flyte-images.lock"


def prepare(image: Image, context: BuildContext) -> Plan:
    """Return the plan of `image` with the current local files.

    Raises SpecError for missing files and settings that contradict each other, ResolveError for unknown packages.
    """
    contents = contents_of(image)
    lock = locked(image, context, contents=contents)
    return plan(image, lock=lock, platform=one_platform(image), contents=contents)


def with_addresses(image: Image, bare: Plan, context: BuildContext) -> Plan:
    """Return the plan with the address of every package file: a plan made from the project's lock has no addresses."""
    if all(file.url for file in packages(bare)):
        return bare
    from ..resolve import addresses

    lock = from_project(image, bare.platform)
    if lock is None:
        raise ResolveError("the project's lock changed during the build", hint="build again")
    addressed = addresses.find(lock, image, context, platform=bare.platform)
    again = plan(image, lock=addressed, platform=bare.platform, contents=contents_of(image))
    return replace(again, base=bare.base)


def contents_of(image: Image) -> list[tuple[str, ...]]:
    """Return the digests of the local sources of each layer."""
    return [_contents(layer) for layer in image.layers]


def _contents(layer: Layer) -> tuple[str, ...]:
    if not layer.local_sources():
        return ()
    from ..context import content_digests  # not loaded for images without local sources

    return content_digests(layer)


def locked(image: Image, context: BuildContext, *, contents: Sequence[Sequence[str]]) -> Lock:
    """Return the exact files of `image`: from the project's lock, from the cache, or resolved now."""
    platform = one_platform(image)
    if not context.upgrade:
        project = from_project(image, platform)
        if project is not None:
            tools = DebianBase(python=image.python)
            for wanted, base in ((image.base, project.base), (tools, project.toolchain)):
                if base is not None:
                    check_available(base, wanted, image, context)
            return project
    base = _find_base(image.base, image, context, refresh=context.upgrade)
    toolchain = None
    if isinstance(image.base, DebianBase) or any(layer.python_requirements() for layer in image.layers):
        toolchain = toolchain_for(image, context.environ)
        if toolchain is None:
            same = isinstance(image.base, DebianBase)
            tools = DebianBase(python=image.python)
            toolchain = base if same else _find_base(tools, image, context, refresh=False)
            keep_toolchain(image, toolchain, context.environ)
    return resolve(image, context, platform=platform, base=base, toolchain=toolchain, contents=contents)


def _find_base(base: Base, image: Image, context: BuildContext, *, refresh: bool) -> BaseImage:
    """Return the exact image of a base; with `refresh`, an earlier answer does not count."""
    platform = one_platform(image)
    known = None if refresh else recorded_base(base, platform, context.environ)
    if known is not None:
        return known
    from ..bootstrap.select import find_base

    try:
        return find_base(base, platform, context, refresh=refresh)
    except ResolveError as error:
        error.location = error.location or image.location
        raise


def lock_path(image: Image) -> Path | None:
    """Return the path of the project's lock: beside the file that describes the image. None without such a file."""
    if image.location is None or not os.path.isfile(image.location.file):  # noqa: PTH113 - the path is a string
        return None
    return Path(image.location.file).with_name(LOCK_NAME)


def from_project(image: Image, platform: str) -> Lock | None:
    """Return the image's lock from the project's file; None without a file or without a lock for this request."""
    path = lock_path(image)
    try:
        text = path.read_text(encoding="utf-8") if path else None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"`{path}` cannot be read: {error}") from None
    return loads(text, image, platform=platform, where=f"`{path}`") if text is not None else None


def check_available(locked: BaseImage, wanted: Base, image: Image, context: BuildContext) -> None:
    """Raise ResolveError unless the locked base is available on this machine.

    A missing bootstrapped base is made again, and must have the locked digest.
    """
    if locked.origin != "layout" or Layout(layout_dir(context.environ)).complete(locked.digest):
        return
    from ..bootstrap.select import find_base

    current = find_base(wanted, one_platform(image), context, refresh=True)
    if current.digest != locked.digest:
        raise ResolveError(
            f"the lock names the base {locked.description} ({locked.digest}), which is not on this machine; the "
            f"current base is {current.description} ({current.digest})",
            hint="copy the cache directory that has the base, or lock again: flyte-images lock --upgrade",
            location=image.location,
        )


def toolchain_for(image: Image, environ: Mapping[str, str]) -> BaseImage | None:
    """Return the recorded image in which this machine installs wheels for this Python, or None if it is missing.

    An upgrade of bases does not change the toolchain: another base leaves the packages unchanged.
    """
    raw = json_cache.read(environ, "toolchain", _toolchain_key(image))
    try:
        toolchain = BaseImage(**raw)
    except TypeError:
        return None
    is_available = toolchain.origin == "registry" or Layout(layout_dir(environ)).complete(toolchain.digest)
    return toolchain if is_available else None


def keep_toolchain(image: Image, toolchain: BaseImage, environ: Mapping[str, str]) -> None:
    """Record the toolchain, unless only the engine has it: the engine may remove the image at any time."""
    if toolchain.origin != "engine":
        json_cache.write(environ, "toolchain", _toolchain_key(image), asdict(toolchain))


def _toolchain_key(image: Image) -> str:
    return digest("toolchain", (image.python, one_platform(image)))


def one_platform(image: Image) -> str:
    """Return the platform of an image. Raises SpecError for an image of several platforms."""
    if len(image.platform) > 1:
        raise SpecError(
            f"the image is for {len(image.platform)} platforms: {', '.join(image.platform)}",
            hint="build one at a time: clone(platform='linux/amd64')",
            location=image.location,
        )
    return image.platform[0]
