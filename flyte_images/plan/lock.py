"""Lock: the exact files that an image resolved to, as a value with a JSON form. Pure.

A lock names files by hash and never by address, so a lock is valid behind any mirror. `request` is the digest of what
the image asks for: a lock of another request only suggests versions. The schema of the JSON form is in lock_schema.py.
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
_HINT = "make it again: flyte-images lock"


@record(kw_only=True)
class LayerLock:
    """The package files of one layer of the image, in the order of their names."""

    wheels: tuple[Wheel, ...] = ()
    sdists: tuple[Sdist, ...] = ()
    debs: tuple[Deb, ...] = ()


@record(kw_only=True)
class Overlap:
    """Wheels that contain the same paths with different contents.

    `packages` are in the order in which pip installs them: of two wheels with one path, the file of the later wheel is
    visible. `paths` are the first common paths, and `count` is the number of common paths.
    """

    packages: tuple[str, ...]
    paths: tuple[str, ...] = decoration((), compare=True)
    count: int = decoration(0, compare=True)

    @property
    def summary(self) -> str:
        """One line for people: the common paths, and the package whose files are visible."""
        more = f" and {self.count - 1} more" if self.count > 1 else ""
        if len(self.packages) > 2:
            return f"contain {self.paths[0]}{more}: the file of the later package is used"
        files = "files" if more else "file"
        return f"both contain {self.paths[0]}{more}: the {files} of {self.packages[1]} {'are' if more else 'is'} used"

    def __str__(self) -> str:
        return f"{', '.join(self.packages[:-1])} and {self.packages[-1]} {self.summary}"


@record(kw_only=True)
class Lock:
    """The exact files of an image on one platform. `layers` has one entry for each layer of the image.

    `toolchain` is the image in which wheels are unpacked and compiled. It is separate from `base`, so that another base
    leaves the packages unchanged.
    """

    request: str
    base: BaseImage
    toolchain: BaseImage | None
    layers: tuple[LayerLock, ...]
    overlaps: tuple[Overlap, ...] = ()

    @property
    def digest(self) -> str:
        """The digest of everything in the lock, `sha256:...`."""
        return digest("lock", self)

    def wheels(self) -> dict[str, Wheel]:
        """Return every wheel, by name."""
        return {wheel.name: wheel for layer in self.layers for wheel in layer.wheels}


def files_to_json(files: Sequence[Wheel | Sdist | Deb], *, addresses: bool) -> list[dict[str, Any]]:
    """Return the JSON form of package files; with `addresses`, the form includes the address of each file."""

    def form(entry: dict[str, Any]) -> dict[str, Any]:
        fields = {key: value for key, value in entry.items() if addresses or key != "url"}
        return fields | ({"build": [form(wheel) for wheel in fields["build"]]} if "build" in fields else {})

    return [form(asdict(file)) for file in files]


def wheels_from_json(raw: object) -> tuple[Wheel, ...]:
    """Return the wheels of a JSON form. Raises ValueError, KeyError or TypeError for any other value."""
    if not isinstance(raw, list):
        raise TypeError("not a list of files")
    return tuple(Wheel(**_checked(file)) for file in raw)


def sdists_from_json(raw: object) -> tuple[Sdist, ...]:
    """Return the source distributions of a JSON form. Raises the same errors as `wheels_from_json`."""
    if not isinstance(raw, list):
        raise TypeError("not a list of files")
    return tuple(Sdist(**_checked({**file, "build": wheels_from_json(file["build"])})) for file in raw)


def overlaps_from_json(raw: object) -> tuple[Overlap, ...]:
    """Return the overlaps of a JSON form. Raises the same errors as `wheels_from_json`."""
    if not isinstance(raw, list):
        raise TypeError("not a list of overlaps")
    return tuple(
        Overlap(packages=_texts(entry["packages"], 2), paths=_texts(entry["paths"], 1), count=_count(entry["count"]))
        for entry in raw
    )


def _texts(raw: object, least: int) -> tuple[str, ...]:
    if not isinstance(raw, list) or len(raw) < least or not all(isinstance(it, str) for it in raw):
        raise ValueError(f"expected a list of at least {least} strings, got {raw!r}")
    return tuple(raw)


def _count(raw: object) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise ValueError(f"expected a number, got {raw!r}")
    return raw


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    for name, value in fields.items():
        expected = {"size": int, "build": tuple}.get(name, str)
        if not isinstance(value, expected) or isinstance(value, bool):
            raise ValueError(f"`{name}` of a file is {value!r}")
    if not re.fullmatch(r"[0-9a-f]{64}", fields["sha256"]):
        raise ValueError(f"{fields['sha256']!r} is not a sha256")
    return fields


def debs_from_json(raw: object) -> tuple[Deb, ...]:
    """Return the Debian packages of a JSON form. Raises the same errors as `wheels_from_json`."""
    if not isinstance(raw, list):
        raise TypeError("not a list of files")
    return tuple(Deb(**_checked(file)) for file in raw)


def resolved_layers(image: Image) -> list[int]:
    """Return the indices of the layers that ask a package index or a Debian archive for files."""
    return [
        index
        for index, layer in enumerate(image.layers)
        if layer.python_requirements() is not None or layer.apt_packages()
    ]


def request(image: Image, *, platform: str) -> str:
    """Return the digest of what an image asks for. A lock of another request is not the image's lock."""
    layers = [(image.layers[i].python_requirements(), image.layers[i].apt_packages()) for i in resolved_layers(image)]
    return digest("request", (FORMAT, image.base, image.python, platform, layers))


def dumps(locks: Mapping[str, tuple[Image, Lock]]) -> str:
    """Return the JSON form of the locks of several images, by name: sorted keys, two spaces, a final newline."""
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
                for index in resolved_layers(image)
            ],
            **({"overlaps": [asdict(overlap) for overlap in lock.overlaps]} if lock.overlaps else {}),
        }
        for name, (image, lock) in locks.items()
    }
    document = {"checksum": _checksum(images), "format": FORMAT, "images": images}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def loads(text: str, image: Image, *, platform: str, where: str = "the lock") -> Lock | None:
    """Return the lock of `image` in the JSON form, or None if the text has no lock for what the image asks.

    Raises SpecError, with `where` and the line and field of the error, for a text that is not a lock.
    """
    wanted = request(image, platform=platform)
    try:
        raw = json.loads(text)
        if raw["format"] != FORMAT:
            raise SpecError(f"{where} has another format", hint=_HINT)
        if raw.get("checksum") != _checksum(raw["images"]):
            raise ValueError("the content does not match the checksum (was the file edited?)")
        for entry in raw["images"].values():
            if entry["request"] == wanted:
                return _lock(entry, image)
    except SpecError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        from .lock_schema import find_damage  # pydantic, which a lock that can be read does not need

        raise SpecError(f"{where} is damaged: {find_damage(text) or error}", hint=_HINT) from None
    return None


def _checksum(images: object) -> str:
    """Return the digest of the locked files, which does not depend on the layout of the JSON."""
    text = json.dumps(images, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _lock(entry: Mapping[str, Any], image: Image) -> Lock:
    layers = [LayerLock()] * len(image.layers)
    for index, layer in zip(resolved_layers(image), entry["layers"], strict=True):
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
