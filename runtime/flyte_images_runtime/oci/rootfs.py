"""Rootfs: an image as directories of this machine, from which a container can be made. A value."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rootfs:
    """`layers` are directories in overlay's form, the topmost first. The other fields are the image's configuration.

    identity  the image's digest in its engine; "" for none
    kept      the key under which containerd keeps the layers for this store; "" if it does not
    """

    layers: tuple[str, ...]
    env: tuple[str, ...] = ()
    workdir: str = "/"
    user: str = ""
    architecture: str = ""
    identity: str = ""
    kept: str = ""

    def is_there(self) -> bool:
        """Return whether all directories still exist."""
        return bool(self.layers) and all(Path(layer).is_dir() for layer in self.layers)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def from_json(text: str) -> Rootfs:
    """Parse what `to_json` wrote. Raise ValueError for anything else.

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
        raise ValueError(f"not a record of an image: {error}") from None
