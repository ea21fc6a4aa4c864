"""Mount points that the image lacks, made in advance for the containers of an ordinary user.

A runtime makes mount points itself, but that of an ordinary user may not write in another user's directory. So they are
made in the writable layer, which is on top of the image's.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any


def make_places(layers: Sequence[str], upper: Path, mounts: Sequence[Mapping[str, Any]]) -> None:
    """Make in `upper` the mount points that no layer has. A path through a link is left to the runtime."""
    inside: list[str] = []  # mounts that hide everything below them
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
    """Return the modes of the existing directories on a path, from the root on. None if one is not a directory."""
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
    """Return the mode in the topmost layer that has the name. None if no layer has it, or the file was deleted."""
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
