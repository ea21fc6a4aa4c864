"""The lock document as a pydantic model: its published JSON Schema, and the place of an error in a damaged lock.

lock.py reads locks without this module, because pydantic takes longer to load than a build that changes nothing. The
model is asked only about a lock that lock.py cannot read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[^/\x00]+$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class WheelFile(_Part):
    """A wheel, identified by its hash."""

    name: str
    version: str
    filename: FileName
    sha256: Sha256
    size: int = Field(description="bytes; 0 if the index does not report the size")


class SdistFile(WheelFile):
    """A source distribution, for a package without a wheel."""

    build: list[WheelFile] = Field(description="the wheels that the build of this distribution needs")


class DebFile(WheelFile):
    """A Debian package, identified by its hash."""

    architecture: str


class LockedBase(_Part):
    """The exact base image."""

    origin: str = Field(description="layout: the user's cache directory; engine: the engine's store; registry")
    reference: str = Field(description="the name of the image in that place")
    digest: str = Field(description="digest of the image's manifest or index")
    python: str = Field(description="X.Y, or empty if unknown")
    python_path: str = Field(description="absolute path of that Python in the image, or empty")
    libc: str = Field(description="version of glibc, or empty")
    config: str = Field(description="the image configuration, JSON")
    description: str = Field(description="for people")


class LockedLayer(_Part):
    """The files of one layer that asks for packages."""

    wheels: list[WheelFile]
    sdists: list[SdistFile]
    debs: list[DebFile]


class WheelOverlap(_Part):
    """Wheels that contain the same paths with different contents, in the order in which pip installs them."""

    packages: list[str] = Field(min_length=2)
    paths: list[str] = Field(min_length=1, description="the first of the common paths")
    count: int = Field(description="number of common paths")


class LockedImage(_Part):
    """Everything that one image resolved to."""

    request: str = Field(description="digest of what the image asks for; the lock of another request is not used")
    base: LockedBase
    toolchain: LockedBase | None = Field(description="the image in which wheels are unpacked, compiled and built")
    layers: list[LockedLayer] = Field(description="one entry for each layer that asks for packages, in order")
    overlaps: list[WheelOverlap] = Field(default=[])


class LockDocument(_Part):
    """The file flyte-images.lock, which `flyte-images lock` writes."""

    format: Literal[1]
    checksum: str = Field(description="sha256 of `images`, as JSON with sorted keys and without spaces")
    images: dict[str, LockedImage] = Field(description="the images of the project, by name")


class Damage(NamedTuple):
    """The first error of a damaged lock: `line` counts from 1, `field` is a dotted path, empty for the whole text."""

    line: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}{f', `{self.field}`' if self.field else ''}: {self.message}"


def find_damage(text: str) -> Damage | None:
    """Return the first error of a lock's text, or None if the text has the form of a lock.

    >>> str(find_damage('{"format": 1, "checksum": "",\\n "images": 3}'))
    'line 2, `images`: Input should be an object'
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        return Damage(error.lineno, "", f"not JSON: {error.msg}")
    try:
        LockDocument.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = [part for part in first["loc"] if isinstance(part, (str, int))]
        return Damage(_line(text, path), ".".join(map(str, path)), first["msg"])
    return None


def _line(text: str, path: Sequence[str | int]) -> int:
    """Return the line of the value at `path`, or of the last value on the path that exists."""
    at = _skip(text, 0)
    for part in path:
        inner = _child(text, at, part)
        if inner is None:
            break
        at = inner
    return text.count("\n", 0, at) + 1


def _child(text: str, at: int, part: str | int) -> int | None:
    """Return the position of a member of the object or array at `at`, or None. The text is JSON."""
    if text[at] not in "{[" or (text[at] == "{") != isinstance(part, str):
        return None
    is_object, number = text[at] == "{", 0
    at = _skip(text, at + 1)
    while text[at] not in "}]":
        key: str | int = number
        if is_object:
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)  # the colon
        if key == part:
            return at
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at
        number += 1
    return None


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
