"""The configuration of an image as an engine or a registry sends it: checked here once, and trusted afterwards."""

from __future__ import annotations

import json
from typing import Any

from ..errors import ResolveError

_MAX_SIZE = 4 << 20  # bytes; the limit of the engines
_TEXTS = ("Env", "Cmd", "Entrypoint", "Shell", "OnBuild")
_OBJECTS = ("Labels", "ExposedPorts", "Volumes")


def check_config(data: bytes, name: str) -> str:
    """Return the configuration of the image `name` as text; raise ResolveError if `data` is not a configuration.

    >>> check_config(b'{"config": {"Env": ["A=1"]}}', "image")
    '{"config": {"Env": ["A=1"]}}'
    """
    problem = _problem(data)
    if problem:
        raise ResolveError(
            f"the configuration of `{name}` is not that of an image: {problem}",
            hint="the registry is faulty or hostile; name another image",
        )
    return data.decode()


def _problem(data: bytes) -> str:
    """Return what is wrong with a configuration; an empty text if it is valid."""
    if len(data) > _MAX_SIZE:
        return f"it has {len(data)} bytes"
    try:
        config: Any = json.loads(data.decode())
    except (ValueError, RecursionError):
        return "it is not JSON"
    settings = (config.get("config") or {}) if isinstance(config, dict) else None
    if not isinstance(settings, dict):
        return "it is not an object"
    for field in _TEXTS:
        value = settings.get(field) or []
        if not isinstance(value, list) or not all(isinstance(item, str) and "\0" not in item for item in value):
            return f"its {field} is not a list of strings"
    for field in _OBJECTS:
        if not isinstance(settings.get(field) or {}, dict):
            return f"its {field} is not an object"
    if not all(isinstance(settings.get(field) or "", str) for field in ("WorkingDir", "User")):
        return "its WorkingDir or User is not a string"
    return "" if isinstance(config.get("history") or [], list) else "its history is not a list"
