"""The names of package files: what a file may be called on this machine and in a step, wherever its name comes from.

An index, an archive or a lock says how a file is called; its address says nothing of it. A name that is more than one
part of a path, that a shell, a terminal or a file system could read as something else, or that is too long, is refused.
"""

from __future__ import annotations

import re

from .errors import LayerError

LONGEST = 240
"""Bytes of the longest name: a file system takes 255, and temporary names are longer by a few."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!%~-]*")  # wheels, source distributions and Debian packages
_SHOWN = 80  # characters of a refused name that its error quotes


def file_name(name: str) -> str:
    """Return `name` if a package file may be called so; raise LayerError if not.

    >>> file_name("git_1%3a2.39_amd64.deb")
    'git_1%3a2.39_amd64.deb'
    >>> file_name("../alpha-1.0-py3-none-any.whl")
    Traceback (most recent call last):
    flyte_images_layers.errors.LayerError: '../alpha-1.0-py3-none-any.whl' is not the name of a package file
    """
    if _NAME.fullmatch(name) is None or len(name) > LONGEST:
        shown = repr(name) if len(name) <= _SHOWN else f"{name[:_SHOWN]!r}..."
        raise LayerError(f"{shown} is not the name of a package file")
    return name
