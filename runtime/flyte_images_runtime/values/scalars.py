"""Codecs of single values: numbers, text, bytes, None, enums, Literal, and the types of exact_text.py."""

from __future__ import annotations

import os

from .base import Codec, origin_of
from .errors import Problem, expected, name_of, shown
from .files import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from .base import CodecOf

_LARGE = 1 << 16  # bytes; a longer bytes object crosses as a file
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_DIGITS = 4000  # Python's JSON reads at most 4300 digits of an integer


class _Plain(Codec):
    """bool and str, which JSON has too."""

    plain = True

    def encode(self, value: Any, files: Files) -> Any:
        if isinstance(value, self.kind):
            return value if type(value) is self.kind else str.__str__(value)  # str() of a str enum is the member's name
        if self.kind is bool and type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
            return bool(value)
        raise expected(self.kind, value)

    def decode(self, data: Any, files: Files) -> Any:
        if type(data) is not self.kind:
            raise expected(self.kind, data)
        return data

    def parse(self, text: str) -> Any:
        if self.kind is str:
            return text
        meanings = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        if text.strip().lower() not in meanings:
            raise Problem(f"{text!r} is not a bool", hint="true or false")
        return meanings[text.strip().lower()]


class _Int(Codec):
    plain = True

    def encode(self, value: Any, files: Files) -> Any:
        if not isinstance(value, int):
            value = _index(value, self.kind)
        if value.bit_length() > 3 * _DIGITS:
            return {"hex": hex(value)}
        return value if isinstance(value, bool) else int(value)

    def decode(self, data: Any, files: Files) -> Any:
        if isinstance(data, dict) and set(data) == {"hex"} and isinstance(data["hex"], str):
            try:
                return int(data["hex"], 16)
            except ValueError:
                raise expected(int, data) from None
        if not isinstance(data, int):
            raise expected(int, data)
        return data

    def accepts(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def parse(self, text: str) -> Any:
        try:
            return int(text.strip().replace("_", ""), 0) if text.strip()[:1] != "0" else int(text)
        except ValueError:
            raise Problem(f"{text!r} is not an int") from None


def _index(value: Any, kind: Any) -> int:
    """Return the int of a number that is not a subclass of `int`, such as numpy's integers."""
    if hasattr(type(value), "__index__"):
        return int(value.__index__())
    raise expected(kind, value)


class _Float(Codec):
    plain = True

    def encode(self, value: Any, files: Files) -> Any:
        numpy_number = type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0
        if not isinstance(value, (int, float)) and not (numpy_number and hasattr(type(value), "__float__")):
            raise expected(float, value)
        return finite(_to_float(value))

    def decode(self, data: Any, files: Files) -> Any:
        if isinstance(data, str) and data in _NOT_FINITE:
            return float(data)
        if isinstance(data, bool) or not isinstance(data, (int, float)):
            raise expected(float, data)
        return _to_float(data)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, float)

    def parse(self, text: str) -> Any:
        try:
            return float(text)
        except ValueError:
            raise Problem(f"{text!r} is not a float") from None


def _to_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        raise Problem("the int is too large for a float") from None


def finite(value: float) -> float | str:
    """Return a float for JSON. JSON does not have NaN and the infinities: they cross as text.

    >>> finite(1.5), finite(float("nan")), finite(float("-inf"))
    (1.5, 'NaN', '-Infinity')
    """
    if value - value == 0:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


class _None(Codec):
    plain = True

    def encode(self, value: Any, files: Files) -> Any:
        return self.decode(value, files)

    def decode(self, data: Any, files: Files) -> Any:
        if data is not None:
            raise expected(None, data)

    def accepts(self, value: Any) -> bool:
        return value is None

    def parse(self, text: str) -> Any:
        if text.strip().lower() not in ("none", "null", ""):
            raise Problem(f"{text!r} is not None")


class _Bytes(Codec):
    """bytes and bytearray: short values in base64, long values as a file."""

    def encode(self, value: Any, files: Files) -> Any:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise expected(self.kind, value)
        view = memoryview(value)
        if view.nbytes <= _LARGE:
            import base64

            return base64.b64encode(view).decode()

        def write(file: BinaryIO) -> None:
            file.truncate(view.nbytes)
            file.write(view)

        return {"file": files.put("bin", view.nbytes, write)}

    def decode(self, data: Any, files: Files) -> Any:
        if isinstance(data, dict):
            with files.open(data.get("file")) as file:
                size = os.fstat(file.fileno()).st_size
                files.in_memory(size if self.kind is bytes else 2 * size, f"a {name_of(self.kind)} object")
                return self.kind(file.read())
        if not isinstance(data, str):
            raise expected(self.kind, data)
        import base64

        try:
            return self.kind(base64.b64decode(data, validate=True))
        except ValueError:
            raise Problem(f"{shown(data)} is not base64") from None

    def parse(self, text: str) -> Any:
        return self.kind(text.encode("utf-8", "surrogateescape"))


class _Enum(Codec):
    """A member of an enum crosses by name, since its value can be of any type."""

    def encode(self, value: Any, files: Files) -> Any:
        if not isinstance(value, self.kind):
            raise expected(self.kind, value)
        if value.name is None or value.name not in self.kind.__members__:  # a combination of flags
            return {"value": value.value}
        return value.name

    def decode(self, data: Any, files: Files) -> Any:
        if isinstance(data, dict) and hasattr(self.kind, "__or__") and isinstance(data.get("value"), int):
            try:
                return self.kind(data["value"])
            except ValueError:
                raise Problem(f"{shown(data)} is not a member of {name_of(self.kind)}") from None
        if not isinstance(data, str) or data not in self.kind.__members__:
            raise Problem(f"{shown(data)} is not a member of {name_of(self.kind)}")
        return self.kind[data]

    def parse(self, text: str) -> Any:
        if text in self.kind.__members__:
            return self.kind[text]
        for member in self.kind:
            if str(member.value) == text:
                return member
        raise Problem(f"{text!r} is not a {name_of(self.kind)}", hint="one of " + ", ".join(self.kind.__members__))


class LiteralCodec(Codec):
    """One of the values of a Literal. It crosses by position, so that 1, True and "1" are distinct."""

    def __init__(self, kind: Any) -> None:
        super().__init__(kind)
        import typing

        self.values: tuple[Any, ...] = typing.get_args(kind)

    def accepts(self, value: Any) -> bool:
        return self._position(value) is not None

    def _position(self, value: Any) -> int | None:
        for at, candidate in enumerate(self.values):
            if type(candidate) is type(value) and candidate == value:
                return at
        return None

    def encode(self, value: Any, files: Files) -> Any:
        at = self._position(value)
        if at is None:
            raise Problem(f"{shown(value)} is not one of {', '.join(map(repr, self.values))}")
        return at

    def decode(self, data: Any, files: Files) -> Any:
        if type(data) is not int or not 0 <= data < len(self.values):
            raise Problem(f"{shown(data)} is not the position of one of {len(self.values)} values")
        return self.values[data]

    def parse(self, text: str) -> Any:
        for candidate in self.values:
            if str(getattr(candidate, "value", candidate)) == text:
                return candidate
        raise Problem(f"{text!r} is not one of {', '.join(str(value) for value in self.values)}")


_KINDS: dict[Any, Codec] = {
    bool: _Plain(bool),
    str: _Plain(str),
    int: _Int(int),
    float: _Float(float),
    type(None): _None(type(None)),
    bytes: _Bytes(bytes),
    bytearray: _Bytes(bytearray),
}


def scalar_for(kind: Any) -> Codec | None:
    """Return the codec for values of exactly this class; None for a class that is not a single value's."""
    found = _KINDS.get(kind) if isinstance(kind, type) else None
    if found is None and isinstance(kind, type):
        from .exact_text import text_for

        found = text_for(kind)
        if found is not None:
            _KINDS[kind] = found
    return found


def tagged(name: Any) -> Codec | None:
    """Return the codec of the class that a value without annotation names; None for an unknown name."""
    for kind in list(_KINDS):
        if kind.__name__ == name:
            return _KINDS[kind]
    from .exact_text import PATHS, TEXTS

    for full in (*TEXTS, *(f"pathlib.{path}" for path in PATHS)):
        module, _, short = full.partition(".")
        if short == name:
            return scalar_for(getattr(__import__(module), short))
    return None


def make(annotation: Any, codec_of: CodecOf) -> Codec | None:
    """Return the codec of a single value's type; None for any other annotation."""
    if annotation is None:
        return _KINDS[type(None)]
    found = scalar_for(annotation)
    if found is not None:
        return found
    if isinstance(annotation, type) and hasattr(annotation, "__members__"):
        return _Enum(annotation)
    origin = origin_of(annotation)
    if origin is None:
        return None
    import typing

    return LiteralCodec(annotation) if origin is typing.Literal else None
