"""The names that a package file may have on this machine and in a step, whatever source the name comes from.

An index, an archive or a lock gives the name of a file; its address does not. A name is refused if it has more than one
path component, if a shell, a terminal or a file system could read it as something else, or if it is too long.
"""

from __future__ import annotations

import re

from .errors import LayerError

LONGEST = 240
"""Bytes of the longest name. A file system takes 255, and temporary names are a few bytes longer."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!%~-]*")  # wheels, source distributions and Debian packages
_SHOWN = 80  # characters of a refused name that its error quotes


def file_name(name: str) -> str:
    """Return `name` if a package file may have it; raise LayerError if not.

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
