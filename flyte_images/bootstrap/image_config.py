"""The configuration of an image as an engine or a registry sends it: looked at once, and then relied upon."""

from __future__ import annotations

import json
from typing import Any

from ..errors import ResolveError

_LARGEST = 4 << 20  # bytes, as for engines
_TEXTS = ("Env", "Cmd", "Entrypoint", "Shell", "OnBuild")
_OBJECTS = ("Labels", "ExposedPorts", "Volumes")


def checked(data: bytes, name: str) -> str:
    """Return the configuration of the image `name` as text; raise ResolveError for what is not one.

    >>> checked(b'{"config": {"Env": ["A=1"]}}', "image")
    '{"config": {"Env": ["A=1"]}}'
    """
    wrong = _wrong(data)
    if wrong:
        raise ResolveError(
            f"the configuration of `{name}` is not one of an image: {wrong}",
            hint="the registry is at fault, or hostile; name another image",
        )
    return data.decode()


def _wrong(data: bytes) -> str:
    """What is wrong with it, or nothing."""
    if len(data) > _LARGEST:
        return f"it has {len(data)} bytes"
    try:
        found: Any = json.loads(data.decode())
    except (ValueError, RecursionError):
        return "it is not JSON"
    settings = (found.get("config") or {}) if isinstance(found, dict) else None
    if not isinstance(settings, dict):
        return "it is not an object"
    for field in _TEXTS:
        value = settings.get(field) or []
        if not isinstance(value, list) or not all(isinstance(it, str) and "\0" not in it for it in value):
            return f"its {field} is not a list of strings"
    for field in _OBJECTS:
        if not isinstance(settings.get(field) or {}, dict):
            return f"its {field} is not an object"
    if not all(isinstance(settings.get(field) or "", str) for field in ("WorkingDir", "User")):
        return "its WorkingDir or User is not a string"
    return "" if isinstance(found.get("history") or [], list) else "its history is not a list"
