"""resolve(image) -> Lock: names become exact files. Asks the package index and, for apt packages, the engine.

What was found once is kept in the user's cache directory, and the same request gives the same files until it is
upgraded; nothing is asked then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from flyte_images_layers import Layer, PythonRequirements, digest
from flyte_images_layers.steps import Deb, Wheel

from ..errors import FlyteImagesError, Location, ResolveError
from ..image import Image
from ..lock import BaseImage, LayerLock, Lock, layers_from_json, layers_to_json
from . import kept

if TYPE_CHECKING:
    from ..buildkit.client import Client

__all__ = ["request", "resolve"]

_VERSION = 1


def request(image: Image, *, platform: str, base: BaseImage) -> str:
    """Return the digest of all that decides what an image resolves to."""
    asked = [(layer.python_requirements(), layer.apt_packages()) for layer in image.layers]
    apt = base.digest if any(packages for _, packages in asked) else None
    return digest("request", (_VERSION, image.python, platform, base.libc, apt, asked))


def resolve(
    image: Image,
    *,
    platform: str,
    base: BaseImage,
    toolchain: BaseImage | None,
    environ: Mapping[str, str],
    connect: Callable[[], Client],
    warm: Callable[[], None] = lambda: None,
    note: Callable[[str], None] = lambda text: None,
    upgrade: bool = False,
) -> Lock:
    """Return the exact files of every layer of `image`.

    Raises ResolveError, with the user's line, for what does not exist, conflicts, or cannot be asked.
    """
    asked = request(image, platform=platform, base=base)
    layers = None if upgrade else _kept(environ, asked, len(image.layers))
    if layers is None:
        warm()  # a solve follows
        wheels = _wheels(image, platform, base, environ, note, upgrade=upgrade)
        debs = _debs(image, platform, base, environ, connect, note)
        layers = tuple(LayerLock(wheels=w, debs=d) for w, d in zip(wheels, debs, strict=True))
        kept.write(environ, "layers", asked, layers_to_json(layers, addresses=True))
    return Lock(request=asked, base=base, toolchain=toolchain, layers=layers)


def _kept(environ: Mapping[str, str], asked: str, count: int) -> tuple[LayerLock, ...] | None:
    raw = kept.read(environ, "layers", asked)
    try:
        layers = layers_from_json(raw)
    except (TypeError, KeyError, ValueError):
        return None
    return layers if len(layers) == count else None


def _wheels(
    image: Image,
    platform: str,
    base: BaseImage,
    environ: Mapping[str, str],
    note: Callable[[str], None],
    *,
    upgrade: bool,
) -> list[tuple[Wheel, ...]]:
    """The wheels of each layer: all are resolved together, and each belongs to the first layer that needs it."""
    found: list[tuple[Wheel, ...]] = [() for _ in image.layers]
    asking = [(index, it) for index, layer in enumerate(image.layers) if (it := layer.python_requirements())]
    if not asking:
        return found
    from . import uv

    target = uv.Target(python=image.python, platform=platform, libc=base.libc)
    note(f"resolving {', '.join(line for _, it in asking for line in it.requirements)}")
    memory = digest("preferred", (image.name, image.python, platform, base.libc))
    preferred = kept.read(environ, "preferred", memory)
    with _At(image.layers[asking[-1][0]]):
        answer = uv.ask(
            [it for _, it in asking],
            target,
            environ=environ,
            preferred=preferred if isinstance(preferred, str) else "",
            upgrade=upgrade,
        )
        kept.write(environ, "preferred", memory, answer.text)
        taken: set[str] = set()
        pins = [f"{wheel.name}=={wheel.version}" for wheel in answer.wheels]
        for number, (index, _) in enumerate(asking):
            sofar: list[PythonRequirements] = [it for _, it in asking[: number + 1]]
            last = number == len(asking) - 1
            part = answer if last else uv.ask(sofar, target, environ=environ, constraints=pins)
            found[index] = tuple(wheel for wheel in part.wheels if wheel.name not in taken)
            taken |= {wheel.name for wheel in part.wheels}
    return found


def _debs(
    image: Image,
    platform: str,
    base: BaseImage,
    environ: Mapping[str, str],
    connect: Callable[[], Client],
    note: Callable[[str], None],
) -> list[tuple[Deb, ...]]:
    found: list[tuple[Deb, ...]] = [() for _ in image.layers]
    asking = [index for index, layer in enumerate(image.layers) if layer.apt_packages()]
    if not asking:
        return found
    from . import apt

    taken: set[str] = set()
    so_far: list[str] = []
    for index in asking:
        layer = image.layers[index]
        so_far += layer.apt_packages()
        note(f"resolving apt packages {', '.join(layer.apt_packages())}")
        with _At(layer):
            debs = apt.ask(tuple(so_far), base, platform, environ=environ, connect=connect)
        found[index] = tuple(deb for deb in debs if deb.sha256 not in taken)
        taken |= {deb.sha256 for deb in debs}
    return found


class _At:
    """What a resolver says is about the line that asked."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FlyteImagesError) and error.location is None and isinstance(error, ResolveError):
            error.location = self.layer.location if isinstance(self.layer.location, Location) else None
