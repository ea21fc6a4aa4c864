"""Image -> Plan: looks at local files, finds the base, resolves names. No engine is asked for what is known already."""

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
    """Return the plan of `image` as it is now."""
    contents = contents_of(image)
    lock = locked(image, context, contents=contents)
    return plan(image, lock=lock, platform=one_platform(image), contents=contents)


def with_addresses(image: Image, made: Plan, context: BuildContext) -> Plan:
    """Return the plan with the address of every package file: one made from the project's lock has none."""
    if all(file.url for file in packages(made)):
        return made
    from ..resolve import addresses

    lock = from_project(image, made.platform)
    if lock is None:
        raise ResolveError("the project's lock changed during the build", hint="build again")
    found = addresses.find(lock, image, context, platform=made.platform)
    again = plan(image, lock=found, platform=made.platform, contents=contents_of(image))
    return replace(again, base=made.base)


def contents_of(image: Image) -> list[tuple[str, ...]]:
    """The digests of the local sources of each layer."""
    return [_contents(layer) for layer in image.layers]


def _contents(layer: Layer) -> tuple[str, ...]:
    if not layer.local_sources():
        return ()
    from ..context import content_digests  # most images have none, and then nothing of it is loaded

    return content_digests(layer)


def locked(image: Image, context: BuildContext, *, contents: Sequence[Sequence[str]]) -> Lock:
    """Return the exact files of `image`: those of the project's lock, what was found before, or what is found now."""
    platform = one_platform(image)
    if not context.upgrade:
        project = from_project(image, platform)
        if project is not None:
            tools = DebianBase(python=image.python)
            for wanted, found in ((image.base, project.base), (tools, project.toolchain)):
                if found is not None:
                    check_available(found, wanted, image, context)
            return project

    def find(base: Base, *, refresh: bool) -> BaseImage:
        found = None if refresh else recorded_base(base, platform, context.environ)
        if found is None:
            from ..bootstrap.select import find_base

            try:
                found = find_base(base, platform, context, refresh=refresh)
            except ResolveError as error:
                error.location = error.location or image.location
                raise
        return found

    base = find(image.base, refresh=context.upgrade)
    toolchain = None
    if isinstance(image.base, DebianBase) or any(layer.python_requirements() for layer in image.layers):
        toolchain = toolchain_for(image, context.environ)
        if toolchain is None:
            same = isinstance(image.base, DebianBase)
            toolchain = base if same else find(DebianBase(python=image.python), refresh=False)
            keep_toolchain(image, toolchain, context.environ)
    return resolve(image, context, platform=platform, base=base, toolchain=toolchain, contents=contents)


def lock_path(image: Image) -> Path | None:
    """Where the lock of the project is: beside the file that says what the image is."""
    if image.location is None or not os.path.isfile(image.location.file):  # noqa: PTH113 - a string is at hand
        return None
    return Path(image.location.file).with_name(LOCK_NAME)


def from_project(image: Image, platform: str) -> Lock | None:
    """The image's lock in the project's file; None without one, or if it is for something else than is asked now."""
    path = lock_path(image)
    try:
        text = path.read_text(encoding="utf-8") if path else None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"`{path}` cannot be read: {error}") from None
    return loads(text, image, platform=platform, where=f"`{path}`") if text is not None else None


def check_available(locked: BaseImage, wanted: Base, image: Image, context: BuildContext) -> None:
    """Raise ResolveError unless a locked base can be had here.

    One that is bootstrapped is made again where it is missing, and has to be the same.
    """
    if locked.origin != "layout" or Layout(layout_dir(context.environ)).complete(locked.digest):
        return
    from ..bootstrap.select import find_base

    found = find_base(wanted, one_platform(image), context, refresh=True)
    if found.digest != locked.digest:
        raise ResolveError(
            f"the lock stands on {locked.description} ({locked.digest}), which is not on this machine; what is to be "
            f"had now is {found.description} ({found.digest})",
            hint="bring the base along with the cache directory, or lock again: flyte-images lock --upgrade",
            location=image.location,
        )


def toolchain_for(image: Image, environ: Mapping[str, str]) -> BaseImage | None:
    """The image in which wheels for this Python are installed on this machine, if one was chosen and is still there.

    It stays when bases are upgraded: another base leaves the packages as they are.
    """
    raw = json_cache.read(environ, "toolchain", _toolchain_key(image))
    try:
        found = BaseImage(**raw)
    except TypeError:
        return None
    is_there = found.origin == "registry" or Layout(layout_dir(environ)).complete(found.digest)
    return found if is_there else None


def keep_toolchain(image: Image, toolchain: BaseImage, environ: Mapping[str, str]) -> None:
    """Remember it; but not an image that is in the engine alone, which may be without it tomorrow."""
    if toolchain.origin != "engine":
        json_cache.write(environ, "toolchain", _toolchain_key(image), asdict(toolchain))


def _toolchain_key(image: Image) -> str:
    return digest("toolchain", (image.python, one_platform(image)))


def one_platform(image: Image) -> str:
    """The platform of an image; several at once are not built."""
    if len(image.platform) > 1:
        raise SpecError(
            f"the image is for {len(image.platform)} platforms: {', '.join(image.platform)}",
            hint="build one at a time: clone(platform='linux/amd64')",
            location=image.location,
        )
    return image.platform[0]
