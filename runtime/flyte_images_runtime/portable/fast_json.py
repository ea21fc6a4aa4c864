"""JSON by the C half of the `json` module alone. For both sides; standard library of Python 3.8.

The Python half imports regular expressions and enumerations, which takes a third of the worker's start.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BLANKS = " \t\n\r"


def _refuse(value: Any) -> Any:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


class _Defaults:
    """The settings that the scanner reads: the defaults of `json.loads`."""

    strict = True
    object_hook = object_pairs_hook = array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(float)  # NaN, Infinity, -Infinity


try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    _settings: Any = _Defaults
    _scan = make_scanner(_settings)

    def dumps(value: Any) -> str:
        """Return the JSON text of a value. Raise TypeError for a value that JSON does not have."""
        encode = make_encoder({}, _refuse, encode_basestring_ascii, None, ": ", ", ", False, False, True)
        return "".join(encode(value, 0))

    def loads(text: str | bytes | bytearray) -> Any:
        """Return the value of a JSON text. Raise ValueError for a text that is not JSON."""
        if not isinstance(text, str):
            text = text.decode("utf-8", "surrogatepass")
        text = text.strip(_BLANKS)
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            raise ValueError("no JSON") from None
        if end != len(text):
            raise ValueError("more than one JSON value")
        return value

    if dumps({"a": [1, 2.5, None, "\u00e9"]}) != '{"a": [1, 2.5, null, "\\u00e9"]}' or loads(" [1.5, NaN]")[0] != 1.5:
        raise ImportError("another _json")
except (ImportError, TypeError, AttributeError, ValueError):  # another Python than CPython, or a later version
    from json import dumps, loads  # type: ignore[assignment]
