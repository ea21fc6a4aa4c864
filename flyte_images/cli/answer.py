"""What a task has returned -> text for stdout. Knows no click."""

from __future__ import annotations

from typing import Any


def as_text(value: object) -> str:
    """A result as JSON; what JSON has no word for, by its own plain form."""
    import json

    return json.dumps(value, indent=2, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> object:
    import dataclasses

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    for method in ("model_dump", "to_dict", "tolist", "isoformat"):  # pydantic, tables, arrays, times
        if callable(getattr(value, method, None)):
            return getattr(value, method)()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    return str(value)
