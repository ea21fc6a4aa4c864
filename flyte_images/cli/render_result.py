"""Render the result of a task as JSON that every reader accepts. Does not import click."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DIGITS = 4000  # of an int; JSON readers, Python's included, refuse more


def as_text(value: object) -> str:
    """Return a result as JSON. Values that JSON cannot express become text: NaN, infinities, very large ints."""
    import json

    return encodable(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def encodable(text: str) -> str:
    r"""Return the text with lone surrogates escaped as in JSON.

    >>> encodable("a\ud800")
    'a\\ud800'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> Any:
    """Return a value in JSON's types."""
    if value is None or isinstance(value, (bool, str)):
        return value if value is None or isinstance(value, bool) else str.__str__(value)
    if isinstance(value, int):
        return int(value) if value.bit_length() < 3 * _DIGITS else hex(value)
    if isinstance(value, float):
        return float(value) if value - value == 0 else _word(value)
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [_plain(item) for item in sorted(value, key=repr)]
    return _other(value)


def _word(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _key(key: Any) -> str:
    """Return a key as text, as JSON writes it."""
    plain = _plain(key)
    if isinstance(plain, str):
        return plain
    import json

    return json.dumps(plain, ensure_ascii=False)


def _other(value: Any) -> Any:
    """Return the plain form of a value of another class."""
    import dataclasses

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    for method in ("model_dump", "to_dict", "tolist", "to_list", "to_pylist", "isoformat"):
        if callable(getattr(value, method, None)):  # pydantic, tables, arrays, columns, times
            return _plain(getattr(value, method)())
    return str(value)
