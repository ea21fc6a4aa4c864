"""Rootfs: an image that a container can be made of, as directories of this machine. A value."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rootfs:
    """layers: directories, the topmost first, in overlay's form; what else is the image's configuration."""

    layers: tuple[str, ...]
    env: tuple[str, ...] = ()
    workdir: str = "/"
    user: str = ""
    architecture: str = ""

    def is_there(self) -> bool:
        """Have all its directories stayed?"""
        return bool(self.layers) and all(Path(layer).is_dir() for layer in self.layers)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def from_json(text: str) -> Rootfs:
    """Read what `to_json` wrote; ValueError for anything else.

    >>> one = Rootfs(layers=("/a/2", "/a/1"), env=("PATH=/bin",))
    >>> from_json(one.to_json()) == one
    True
    """
    try:
        found = json.loads(text)
        return Rootfs(
            layers=tuple(map(str, found["layers"])),
            env=tuple(map(str, found["env"])),
            workdir=str(found["workdir"]),
            user=str(found["user"]),
            architecture=str(found["architecture"]),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"no record of an image: {error}") from None
