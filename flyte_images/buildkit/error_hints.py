"""What an engine says when something fails -> the same without its wrapping, and what to do about it. Pure."""

from __future__ import annotations

import re

_HINTS = (
    (
        r"no space left on device|disk quota exceeded",
        "the engine's disk is full: `flyte-images cache prune --engine` makes room",
    ),
    (r"toomanyrequests|429 Too Many", "the registry takes no more for now: log in, or try again later"),
    (
        r"40[13] (Unauthorized|Forbidden)|unauthorized|denied|insufficient_scope|authorization failed",
        "`docker login` first",
    ),
    (r"5\d\d [A-Z][a-z]+ ?[A-Z]?|unexpected status.*: 5\d\d", "the registry is in trouble: try again later"),
    (
        r"no such host|connection refused|i/o timeout|server misbehaving",
        "is the address right, and reachable by the engine?",
    ),
    (
        r"digest mismatch|checksum mismatch",
        "what was served is not the file that was resolved: build with --upgrade, or tell the keeper of the index",
    ),
    (r"the file `.*` is damaged", "it has been removed: build again, and it is made anew"),
    (
        r"unsupported offset",
        "the engine holds half of a file of a build that was cut off: `flyte-images cache prune --engine`, or wait",
    ),
    (
        r"context deadline exceeded",
        "something did not answer in time: is the engine's machine overloaded? Build again: finished steps are kept",
    ),
)
"""What the engine says, and what can be done about it."""


def hint_for(text: str) -> str | None:
    """What to do about what the engine says, if that is known.

    >>> hint_for("failed to push r.example/x: 401 Unauthorized")
    '`docker login` first'
    """
    return next((hint for pattern, hint in _HINTS if re.search(pattern, text)), None)


def step_message(text: str) -> str:
    """BuildKit's sentence without the wrappings that say nothing.

    >>> step_message('failed to solve: process "/bin/sh -c x" did not complete successfully: exit code: 7')
    'the command failed with exit status 7'
    >>> step_message("rpc error: code = Unknown desc = no such file")
    'no such file'
    """
    text = re.sub(r"^(failed to solve: |rpc error: code = \w+ desc = )+", "", text)
    ended = re.search(r'process ".*" did not complete successfully: exit code: (\d+)$', text, re.DOTALL)
    return f"the command failed with exit status {ended[1]}" if ended else text
