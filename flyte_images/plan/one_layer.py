"""A file system -> the same files in one layer, for engines whose layers contain the time of the build. Pure."""

from __future__ import annotations

from .. import llb


def one_layer(root: llb.State, epoch: int) -> llb.State:
    """Return the files of `root` as one layer, which does not depend on the time of the build.

    Docker's old image store writes the time of a removal into a layer, and after a step also the time of the
    directories in which the engine has removed mount points; a step can change neither. A copy has no removals, and
    those directories get the time `epoch`, in seconds since 1970.
    """
    actions = [llb.mkdir(path, mode=0o755) for path in ("/etc", "/run")]
    directories = llb.file(None, actions, timestamp=epoch * 1_000_000_000, note=llb.Note(name="folders of mounts"))
    copies = [llb.copy(root, "/", "/"), llb.copy(directories, "/", "/")]
    return llb.file(None, copies, note=llb.Note(name="one layer of base, packages and commands"))
