"""Programs that run inside a build step, under whatever Python (>= 3.8) or shell the step has: nothing else is needed.

They are shipped as they are, by content: `text(name)` gives a program's source.
"""

from pathlib import Path


def text(name: str) -> bytes:
    """Return the source of the program `name`."""
    return Path(__file__).with_name(name).read_bytes()
