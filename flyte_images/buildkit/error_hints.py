"""Error texts of an engine -> the same text without its wrapping, and a hint for the user. Pure."""

from __future__ import annotations

import re

_HINTS = (
    (
        r"no space left on device|disk quota exceeded",
        "the engine's disk is full: `flyte-images cache prune --engine` frees space",
    ),
    (r"toomanyrequests|429 Too Many", "the registry limits requests: log in, or try again later"),
    (
        r"40[13] (Unauthorized|Forbidden)|unauthorized|denied|insufficient_scope|authorization failed",
        "`docker login` first",
    ),
    (r"5\d\d [A-Z][a-z]+ ?[A-Z]?|unexpected status.*: 5\d\d", "the registry is in trouble: try again later"),
    (
        r"no such host|connection refused|i/o timeout|server misbehaving",
        "is the address right, and can the engine reach it?",
    ),
    (
        r"digest mismatch|checksum mismatch",
        "the served file is not the resolved file: build with --upgrade, or tell the owner of the index",
    ),
    (r"the file `.*` is damaged", "the file has been removed: build again, and the build makes a new one"),
    (
        r"unsupported offset",
        "the engine has half of a file of an interrupted build: `flyte-images cache prune --engine`, or wait an hour",
    ),
    (
        r"context deadline exceeded",
        "a server did not answer in time: is the engine's machine overloaded? Build again: finished steps are kept",
    ),
)
"""Patterns of the engine's error texts, each with its hint."""


def hint_for(text: str) -> str | None:
    """Return the hint for an error text of the engine, or None.

    >>> hint_for("failed to push r.example/x: 401 Unauthorized")
    '`docker login` first'
    """
    return next((hint for pattern, hint in _HINTS if re.search(pattern, text)), None)


def step_message(text: str) -> str:
    """Return BuildKit's error text without the wrapping.

    >>> step_message('failed to solve: process "/bin/sh -c x" did not complete successfully: exit code: 7')
    'the command failed with exit status 7'
    >>> step_message("rpc error: code = Unknown desc = no such file")
    'no such file'
    """
    text = re.sub(r"^(failed to solve: |rpc error: code = \w+ desc = )+", "", text)
    ended = re.search(r'process ".*" did not complete successfully: exit code: (\d+)$', text, re.DOTALL)
    return f"the command failed with exit status {ended[1]}" if ended else text
