"""Lock: what an image resolved to. A value with a JSON form; pure.

It names files by hash and never by address, so it holds behind any mirror. `request` is the digest of what was asked
for: a lock for another request is not used, only preferred versions are taken from it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flyte_images_layers import decoration, digest
from flyte_images_layers.record import record
from flyte_images_layers.steps import Deb, Sdist, Wheel

from ..bootstrap.base_image import BaseImage
from ..errors import SpecError
from ..image import Image

FORMAT = 1
_AGAIN = "make it again: flyte-images lock"


@record(kw_only=True)
class LayerLock:
    """What was found for one layer of the image: Python or Debian packages, in the order of their names."""

    wheels: tuple[Wheel, ...] = ()
    sdists: tuple[Sdist, ...] = ()
    debs: tuple[Deb, ...] = ()


@record(kw_only=True)
class Overlap:
    """Wheels that hold the same paths with other contents, `packages`, in the order in which pip installs them: of two
    that hold a path, the later one's file is seen. `paths` are the first of those, and `count` how many there are.
    """

    packages: tuple[str, ...]
    paths: tuple[str, ...] = decoration((), compare=True)
    count: int = decoration(0, compare=True)

    @property
    def words(self) -> str:
        """What is the case with them, in a line."""
        more = f" and {self.count - 1} more" if self.count > 1 else ""
        if len(self.packages) > 2:
            return f"hold {self.paths[0]}{more}: where two do, the later one's is seen"
        whose = f"those of {self.packages[1]} are" if more else f"that of {self.packages[1]} is"
        return f"both hold {self.paths[0]}{more}: {whose} seen"

    def __str__(self) -> str:
        return f"{', '.join(self.packages[:-1])} and {self.packages[-1]} {self.words}"


@record(kw_only=True)
class Lock:
    """The exact files of an image on one platform. `layers` follows the layers of the image, one entry each.

    `toolchain` is the image in which wheels are unpacked and compiled; it is kept apart from `base`, so that another
    base leaves the packages as they are.
    """

    request: str
    base: BaseImage
    toolchain: BaseImage | None
    layers: tuple[LayerLock, ...]
    overlaps: tuple[Overlap, ...] = ()

    @property
    def digest(self) -> str:
        """`sha256:...` of all that is locked."""
        return digest("lock", self)

    def wheels(self) -> dict[str, Wheel]:
        """Every wheel, by name."""
        return {wheel.name: wheel for layer in self.layers for wheel in layer.wheels}


def files_to_json(files: Sequence[Wheel | Sdist | Deb], *, addresses: bool) -> list[dict[str, Any]]:
    """The JSON form of package files; with `addresses`, where each was seen too."""

    def form(entry: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in entry.items() if addresses or key != "url"}
        return kept | ({"build": [form(wheel) for wheel in kept["build"]]} if "build" in kept else {})

    return [form(asdict(file)) for file in files]


def wheels_from_json(raw: object) -> tuple[Wheel, ...]:
    """The inverse for wheels; raises ValueError, KeyError or TypeError for anything else."""
    if not isinstance(raw, list):
        raise TypeError("not a list of files")
    return tuple(Wheel(**_checked(file)) for file in raw)


def sdists_from_json(raw: object) -> tuple[Sdist, ...]:
    """The inverse for source distributions; raises as for wheels."""
    if not isinstance(raw, list):
        raise TypeError("not a list of files")
    return tuple(Sdist(**_checked({**file, "build": wheels_from_json(file["build"])})) for file in raw)


def overlaps_from_json(raw: object) -> tuple[Overlap, ...]:
    """The inverse of `asdict` for overlaps; raises as for wheels."""
    if not isinstance(raw, list):
        raise TypeError("not a list of overlaps")
    return tuple(
        Overlap(packages=_texts(entry["packages"], 2), paths=_texts(entry["paths"], 1), count=_count(entry["count"]))
        for entry in raw
    )


def _texts(raw: object, least: int) -> tuple[str, ...]:
    if not isinstance(raw, list) or len(raw) < least or not all(isinstance(it, str) for it in raw):
        raise ValueError(f"{raw!r} is no list of {least} strings and more")
    return tuple(raw)


def _count(raw: object) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise ValueError(f"{raw!r} is no count")
    return raw


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    for name, value in fields.items():
        wanted = {"size": int, "build": tuple}.get(name, str)
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ValueError(f"{name} of a file is {value!r}")
    if not re.fullmatch(r"[0-9a-f]{64}", fields["sha256"]):
        raise ValueError(f"{fields['sha256']!r} is no sha256")
    return fields


def debs_from_json(raw: object) -> tuple[Deb, ...]:
    """The inverse for Debian packages; raises as for wheels."""
    if not isinstance(raw, list):
        raise TypeError("not a list of files")
    return tuple(Deb(**_checked(file)) for file in raw)


def asking(image: Image) -> list[int]:
    """The layers of an image for which an index or an archive is asked, by their place."""
    return [
        index
        for index, layer in enumerate(image.layers)
        if layer.python_requirements() is not None or layer.apt_packages()
    ]


def request(image: Image, *, platform: str) -> str:
    """Return the digest of what an image asks for: a lock for another request is not its lock."""
    asked = [(image.layers[i].python_requirements(), image.layers[i].apt_packages()) for i in asking(image)]
    return digest("request", (FORMAT, image.base, image.python, platform, asked))


def dumps(locks: Mapping[str, tuple[Image, Lock]]) -> str:
    """Return the JSON form of the locks of several images, by name: sorted keys, two spaces, a trailing newline."""
    images = {
        name: {
            "request": lock.request,
            "base": asdict(lock.base),
            "toolchain": asdict(lock.toolchain) if lock.toolchain else None,
            "layers": [
                {
                    "wheels": files_to_json(lock.layers[index].wheels, addresses=False),
                    "sdists": files_to_json(lock.layers[index].sdists, addresses=False),
                    "debs": files_to_json(lock.layers[index].debs, addresses=False),
                }
                for index in asking(image)
            ],
            **({"overlaps": [asdict(it) for it in lock.overlaps]} if lock.overlaps else {}),
        }
        for name, (image, lock) in locks.items()
    }
    document = {"checksum": _checksum(images), "format": FORMAT, "images": images}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def loads(text: str, image: Image, *, platform: str, where: str = "the lock") -> Lock | None:
    """Find the lock of `image` in the JSON form; None if there is none for what it asks.

    Raises SpecError, naming `where`, for anything that is not of this format.
    """
    wanted = request(image, platform=platform)
    try:
        raw = json.loads(text)
        if raw["format"] != FORMAT:
            raise SpecError(f"{where} has another format", hint=_AGAIN)
        if raw.get("checksum") != _checksum(raw["images"]):
            raise SpecError(f"{where} is damaged: its content does not fit its checksum (was it edited?)", hint=_AGAIN)
        for entry in raw["images"].values():
            if entry["request"] == wanted:
                return _lock(entry, image)
    except SpecError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"{where} is damaged: {error!r}", hint=_AGAIN) from None
    return None


def _checksum(images: object) -> str:
    """Return the digest of what is locked, however the JSON is laid out."""
    text = json.dumps(images, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _lock(entry: Mapping[str, Any], image: Image) -> Lock:
    layers = [LayerLock()] * len(image.layers)
    for index, layer in zip(asking(image), entry["layers"], strict=True):
        layers[index] = LayerLock(
            wheels=wheels_from_json(layer["wheels"]),
            sdists=sdists_from_json(layer["sdists"]),
            debs=debs_from_json(layer["debs"]),
        )
    return Lock(
        request=entry["request"],
        base=BaseImage(**entry["base"]),
        toolchain=BaseImage(**entry["toolchain"]) if entry["toolchain"] else None,
        layers=tuple(layers),
        overlaps=overlaps_from_json(entry.get("overlaps", [])),
    )
