"""The image that others stand on: found in the cache, the engine or a registry, else made from Debian's archive alone.

found.py     what was found, and the record of it        (light: a build that changes nothing loads only this)
choice.py    a base as the user wrote it -> what to take
instore.py   an image in the engine's own store
make.py      suite -> Bootstrapped, once for all processes of this machine
workplace.py the directory in which it is made, and what a killed process left
archive.py   where the archive is, and its state: signed package lists
debian.py    an archive state -> the files of a Debian (mmdebstrap)
layer.py     those files -> a layer that is the same whenever the packages are the same
record.py    what was made, and from what
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base_record import FoundBase, known_base
    from .catalog import SUITES, Bootstrapped, list_bases
    from .make import bootstrap
    from .select import find_base

__all__ = ["SUITES", "Bootstrapped", "FoundBase", "bootstrap", "find_base", "known_base", "list_bases"]

_PLACES = {
    "SUITES": "record",
    "Bootstrapped": "record",
    "FoundBase": "found",
    "bootstrap": "make",
    "find_base": "choice",
    "known_base": "found",
    "list_bases": "record",
}


def __getattr__(name: str) -> object:
    """Load what is asked for when it is asked for: making a base needs much that knowing one does not."""
    if name not in _PLACES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
