"""A file system -> the same as one layer, for engines whose layers show the day. Pure."""

from __future__ import annotations

from .. import llb


def one_layer(root: llb.State, epoch: int) -> llb.State:
    """Return the files of `root` as one layer, in which nothing shows the day.

    Docker's old image store writes the time of a removal into a layer, and that of the folders where the engine takes
    away the places of its mounts after a step; a step can change neither. A copy has no removals, and the folders get
    the time `epoch`.
    """
    places = [llb.mkdir(path, mode=0o755) for path in ("/etc", "/run")]
    settled = llb.file(None, places, timestamp=epoch * 1_000_000_000, note=llb.Note(name="folders of mounts"))
    copies = [llb.copy(root, "/", "/"), llb.copy(settled, "/", "/")]
    return llb.file(None, copies, note=llb.Note(name="one layer of base, packages and commands"))
