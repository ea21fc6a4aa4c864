"""The places in an image at which something is mounted, made beforehand where the image lacks them.

A runtime makes them itself, but an ordinary user's may not write in a directory that belongs to somebody else. So they
are made in the layer that is written to, which lies on top of the image's.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any


def make_places(layers: Sequence[str], upper: Path, mounts: Sequence[Mapping[str, Any]]) -> None:
    """Make in `upper` what no layer has of the mounts' destinations. What lies behind a link is left to the runtime."""
    inside: list[str] = []  # what another mount will hide, together with all that is below it
    for mount in mounts:
        place = str(PurePosixPath(mount["destination"]))
        if any(place.startswith(f"{other}/") for other in inside):
            continue
        inside.append(place)
        parts = PurePosixPath(place).parts[1:]
        modes = _modes(layers, parts)
        if modes is None or len(modes) == len(parts):
            continue
        _make(upper, parts, modes, is_file=mount["type"] == "bind" and Path(mount["source"]).is_file())


def _modes(layers: Sequence[str], parts: Sequence[str]) -> list[int] | None:
    """The modes of the directories that are there, from the root on; None if one of them is no directory."""
    modes: list[int] = []
    for at in range(1, len(parts) + 1):
        mode = _mode(layers, "/".join(parts[:at]))
        if mode is None:
            return modes
        if not stat.S_ISDIR(mode) and at < len(parts):
            return None
        modes.append(stat.S_IMODE(mode))
    return modes


def _mode(layers: Sequence[str], name: str) -> int | None:
    """As the topmost layer that has it says; None if none has, or it was deleted."""
    for layer in layers:
        try:
            found = Path(layer, name).lstat()
        except OSError:
            continue
        return None if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0 else found.st_mode
    return None


def _make(upper: Path, parts: Sequence[str], modes: Sequence[int], *, is_file: bool) -> None:
    path = upper
    for at, part in enumerate(parts):
        path = path / part
        if is_file and at == len(parts) - 1:
            path.touch()
        elif not path.is_dir():
            path.mkdir()
            path.chmod(modes[at] if at < len(modes) else 0o755)
