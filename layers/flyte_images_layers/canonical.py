"""Value -> bytes, one to one: every digest of this project is the hash of such bytes. Pure.

Each value is written as a type letter, its length (or count) and its content, so that different values have different
bytes: `("a", "bc")` and `("ab", "c")`, `1` and `"1"`, `None` and `""`, one record and another with the same fields all
differ. Mappings are sorted by their encoded keys, so insertion order decides nothing.

A record (a frozen dataclass) is written with its `kind` and its fields. A field made with `decoration()` is left out:
names, places and labels decide nothing about the result.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

_DECORATION = {"decoration": True}
_OPTIONAL = {"optional": True}


def decoration(default: Any = None, *, compare: bool = False) -> Any:
    """Return a dataclass field that is never part of a digest, and of a comparison only with `compare`."""
    return dataclasses.field(default=default, compare=compare, repr=compare, kw_only=True, metadata=_DECORATION)


def optional(default: Any) -> Any:
    """Return a dataclass field that a digest leaves out at its default: a new field then changes no old digest."""
    return dataclasses.field(default=default, kw_only=True, metadata=_OPTIONAL)


def encode(value: object) -> bytes:
    """Return the canonical bytes of `value`.

    `value` is None, bool, int, str, bytes, a tuple, a list, a mapping or a frozen dataclass. Raise TypeError for any
    other type, floats included: their text differs between languages.

    >>> encode(("a", "bc")) == encode(("ab", "c"))
    False
    >>> encode({"b": 1, "a": 2}) == encode({"a": 2, "b": 1})
    True
    """
    match value:
        case None:
            return b"n"
        case bool():
            return b"t" if value else b"f"
        case int():
            return _sized(b"i", str(value).encode())
        case str():
            return _sized(b"s", value.encode("utf-8", "surrogatepass"))
        case bytes():
            return _sized(b"b", value)
        case tuple() | list():
            return _counted(b"l", (encode(item) for item in value))
        case Mapping():
            return _counted(
                b"d", (key + item for key, item in sorted((encode(k), encode(v)) for k, v in value.items()))
            )
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        is_shared = getattr(value, "is_shared", False)
        return _known_record(value) if is_shared else _record(value)  # type: ignore[arg-type]  # frozen: hashable
    raise TypeError(f"no canonical form for {type(value).__name__}: {value!r}")


def _record(value: Any) -> bytes:
    fields = {
        f.name: getattr(value, f.name)
        for f in dataclasses.fields(value)
        if f.metadata != _DECORATION and not (f.metadata == _OPTIONAL and getattr(value, f.name) == f.default)
    }
    return b"r" + encode(getattr(value, "kind", type(value).__name__)) + encode(fields)


# A package is in many images: the value of a class with `is_shared` is encoded once. The fields of such a class are
# strings and ints, so that equal records (decoration aside) have the same bytes.
_known_record = functools.lru_cache(maxsize=1 << 16)(_record)


def digest(domain: str, value: object) -> str:
    """Return `sha256:...` of `value` in a named domain; two domains never share a digest.

    >>> digest("a", 1) == digest("b", 1)
    False
    """
    return "sha256:" + hashlib.sha256(encode(("flyte-images", domain, 1, value))).hexdigest()


def _sized(letter: bytes, content: bytes) -> bytes:
    return b"%s%d:%s" % (letter, len(content), content)


def _counted(letter: bytes, items: Iterable[bytes]) -> bytes:
    encoded = list(items)
    return b"%s%d:%s" % (letter, len(encoded), b"".join(encoded))
