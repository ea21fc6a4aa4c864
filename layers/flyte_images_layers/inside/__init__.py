"""Programs that run inside a build step. They need Python 3.8 or a POSIX shell, and no package.

A step gets a program's text, and its digest covers that text: an edit, even of a comment, gives other image digests.
"""

from pathlib import Path


def text(name: str) -> bytes:
    """Return the source of the program `name`."""
    return Path(__file__).with_name(name).read_bytes()
