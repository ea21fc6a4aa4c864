"""Image -> Plan: looks at local files, finds the base, resolves names. No engine is asked for what is known already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from flyte_images_layers import Base, DebianBase, Layer

from .bootstrap.found import FoundBase, known_base
from .errors import SpecError
from .image import Image
from .lock import BaseImage, Lock
from .plan import Plan, plan
from .resolve import resolve

if TYPE_CHECKING:
    from .buildkit.client import Client


def prepare(
    image: Image,
    *,
    environ: Mapping[str, str],
    connect: Callable[[], Client],
    warm: Callable[[], None] = lambda: None,
    note: Callable[[str], None] = lambda text: None,
    upgrade: bool = False,
) -> Plan:
    """Return the plan of `image` as it is now."""
    contents = [_contents(layer) for layer in image.layers]
    lock = locked(image, contents=contents, environ=environ, connect=connect, warm=warm, note=note, upgrade=upgrade)
    return plan(image, lock=lock, platform=one_platform(image), contents=contents)


def _contents(layer: Layer) -> tuple[str, ...]:
    if not layer.local_sources():
        return ()
    from .context import content_digests  # most images have none, and then nothing of it is loaded

    return content_digests(layer)


def locked(
    image: Image,
    *,
    contents: Sequence[Sequence[str]],
    environ: Mapping[str, str],
    connect: Callable[[], Client],
    warm: Callable[[], None] = lambda: None,
    note: Callable[[str], None] = lambda text: None,
    upgrade: bool = False,
) -> Lock:
    """Return the exact files of `image`: what was found before, or what is found now."""
    platform = one_platform(image)

    def find(base: Base, *, refresh: bool) -> BaseImage:
        found = None if refresh else known_base(base, platform, environ)
        if found is None:
            from .bootstrap.choice import find_base

            found = find_base(base, platform, environ=environ, client=connect, note=note, refresh=refresh)
        return base_image(found)

    base = find(image.base, refresh=upgrade)
    toolchain = None
    if isinstance(image.base, DebianBase) or any(layer.python_requirements() for layer in image.layers):
        same = isinstance(image.base, DebianBase)
        toolchain = base if same else find(DebianBase(python=image.python), refresh=False)
    return resolve(
        image,
        platform=platform,
        base=base,
        toolchain=toolchain,
        contents=contents,
        environ=environ,
        connect=connect,
        warm=warm,
        note=note,
        upgrade=upgrade,
    )


def one_platform(image: Image) -> str:
    """The platform of an image; several at once are not built."""
    if len(image.platform) > 1:
        raise SpecError(
            f"the image is for {len(image.platform)} platforms: {', '.join(image.platform)}",
            hint="build one at a time: clone(platform='linux/amd64')",
            location=image.location,
        )
    return image.platform[0]


def base_image(found: FoundBase) -> BaseImage:
    """A base that was found, as a lock has it."""
    return BaseImage(
        origin=found.kind,
        reference=found.reference,
        digest=found.digest,
        python=found.python or "",
        python_path=found.interpreter or "",
        libc=(found.libc or "").removeprefix("glibc").strip(),
        config=found.config,
        description=found.description,
    )
