"""Rootfs: an image that a container can be made of, as directories of this machine. A value."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rootfs:
    """layers: directories, the topmost first, in overlay's form; what else is the image's configuration.

    identity  of the image in the engine that it came from; "" for none
    kept      the key under which containerd keeps the layers for us; "" where it does not
    """

    layers: tuple[str, ...]
    env: tuple[str, ...] = ()
    workdir: str = "/"
    user: str = ""
    architecture: str = ""
    identity: str = ""
    kept: str = ""

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
            identity=str(found["identity"]),
            kept=str(found["kept"]),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"no record of an image: {error}") from None
