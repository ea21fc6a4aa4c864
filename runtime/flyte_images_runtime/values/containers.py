"""Codecs of containers of other values: lists, tuples, sets, mappings, unions."""

from __future__ import annotations

import collections
import collections.abc
import json
import typing
from typing import Any

from .base import Codec, is_union
from .errors import Problem, expected, located, name_of, shown
from .files import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import CodecOf

_SEQUENCES: dict[Any, type] = {
    list: list,
    set: set,
    frozenset: frozenset,
    collections.deque: collections.deque,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Iterable: list,
    collections.abc.Collection: list,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
}
_MAPPINGS: dict[Any, type] = {
    dict: dict,
    collections.OrderedDict: collections.OrderedDict,
    collections.abc.Mapping: dict,
    collections.abc.MutableMapping: dict,
}


class _Many(Codec):
    """list[X], set[X], ...: a JSON array."""

    def __init__(self, kind: Any, make: type, item: Codec) -> None:
        super().__init__(kind)
        self._make = make
        self._item = item

    def accepts(self, value: Any) -> bool:
        fits = isinstance(value, typing.get_origin(self.kind) or self.kind)
        return fits and not isinstance(value, (str, bytes, bytearray, collections.abc.Mapping))

    def encode(self, value: Any, files: Files) -> Any:
        if not self.accepts(value):
            raise expected(self.kind, value)
        items = list(value)
        if self._item.plain and all(type(item) is self._item.kind for item in items):
            if _is_json(self._item.kind, items):
                return items
        return [located(at, self._item.encode, item, files) for at, item in enumerate(items)]

    def decode(self, data: Any, files: Files) -> Any:
        if not isinstance(data, list):
            raise expected(self.kind, data)
        if self._item.plain and all(type(item) is self._item.kind for item in data):
            return data if self._make is list else self._make(data)
        items = [located(at, self._item.decode, item, files) for at, item in files.timed(data)]
        return self._make(map(hashable, items) if self._make in (set, frozenset) else items)

    def parse(self, text: str) -> Any:
        items = load_json(text, "[", self.kind)
        return self._make(located(at, from_json, item, self._item) for at, item in enumerate(items))


class _Tuple(Codec):
    """tuple[X, Y]: one codec for each position."""

    def __init__(self, kind: Any, items: tuple[Codec, ...]) -> None:
        super().__init__(kind)
        self._items = items

    def accepts(self, value: Any) -> bool:
        return isinstance(value, tuple) and len(value) == len(self._items)

    def encode(self, value: Any, files: Files) -> Any:
        if not isinstance(value, tuple):
            raise expected(self.kind, value)
        return [located(at, codec.encode, item, files) for at, codec, item in self._paired(value)]

    def decode(self, data: Any, files: Files) -> Any:
        if not isinstance(data, list):
            raise expected(self.kind, data)
        return tuple(located(at, codec.decode, item, files) for at, codec, item in self._paired(data))

    def _paired(self, values: Any) -> list[tuple[int, Codec, Any]]:
        if len(values) != len(self._items):
            raise Problem(f"expected {name_of(self.kind)}, got {len(values)} values: {shown(values)}")
        return [(at, codec, item) for at, (codec, item) in enumerate(zip(self._items, values))]  # noqa: B905 Python 3.8

    def parse(self, text: str) -> Any:
        paired = self._paired(load_json(text, "[", self.kind))
        return tuple(located(at, from_json, item, codec) for at, codec, item in paired)


class _Endless(_Many):
    """tuple[X, ...]."""


class _Mapping(Codec):
    """dict[K, V]: a JSON object if the keys are text, else an array of pairs."""

    def __init__(self, kind: Any, make: type, key: Codec, item: Codec) -> None:
        super().__init__(kind)
        self._make = make
        self._key = key
        self._item = item

    def accepts(self, value: Any) -> bool:
        return isinstance(value, collections.abc.Mapping)

    def encode(self, value: Any, files: Files) -> Any:
        if not self.accepts(value):
            raise expected(self.kind, value)
        pairs = [
            [
                located(_key(key), self._key.encode, key, files),
                located(_at(key), self._item.encode, v, files),
            ]
            for key, v in value.items()
        ]
        return dict(pairs) if self._key.kind is str else pairs

    def decode(self, data: Any, files: Files) -> Any:
        pairs = list(data.items()) if isinstance(data, dict) and self._key.kind is str else data
        if not isinstance(pairs, list):
            raise expected(self.kind, data)
        return self._make(
            (
                hashable(located(_key(key), self._key.decode, key, files)),
                located(_at(key), self._item.decode, value, files),
            )
            for _, (key, value) in files.timed(map(pair, pairs))
        )

    def parse(self, text: str) -> Any:
        items = load_json(text, "{", self.kind)
        return self._make(
            (located(_at(key), self._key.parse, key), located(_at(key), from_json, value, self._item))
            for key, value in items.items()
        )


class _Optional(Codec):
    """X | None: None is null, any other value a list of one item, since a value of X may be null too."""

    def __init__(self, kind: Any, item: Codec) -> None:
        super().__init__(kind)
        self.item = item

    def accepts(self, value: Any) -> bool:
        return value is None or self.item.accepts(value)

    def encode(self, value: Any, files: Files) -> Any:
        return None if value is None else [self.item.encode(value, files)]

    def decode(self, data: Any, files: Files) -> Any:
        if data is None:
            return None
        if not isinstance(data, list) or len(data) != 1:
            raise expected(self.kind, data)
        return self.item.decode(data[0], files)

    def parse(self, text: str) -> Any:
        return None if text.strip().lower() in ("none", "null") else self.item.parse(text)


class _Union(Codec):
    """X | Y: the position of the part that takes the value, and the value's JSON form by that part."""

    def __init__(self, kind: Any, parts: tuple[Codec, ...]) -> None:
        super().__init__(kind)
        self._parts = parts

    def accepts(self, value: Any) -> bool:
        return any(part.accepts(value) for part in self._parts)

    def encode(self, value: Any, files: Files) -> Any:
        fitting = [at for at, part in enumerate(self._parts) if part.accepts(value)]
        others = [at for at in range(len(self._parts)) if at not in fitting]
        deepest: Problem | None = None
        for at in fitting + others:
            try:
                return [at, self._parts[at].encode(value, files)]
            except Problem as problem:
                deepest = problem if problem.path and deepest is None else deepest
        raise deepest or expected(self.kind, value)

    def decode(self, data: Any, files: Files) -> Any:
        positions = range(len(self._parts))
        if not isinstance(data, list) or len(data) != 2 or type(data[0]) is not int or data[0] not in positions:
            raise expected(self.kind, data)
        return self._parts[data[0]].decode(data[1], files)

    def parse(self, text: str) -> Any:
        for part in sorted(self._parts, key=lambda part: part.kind is str):  # str last, since it takes every text
            try:
                return part.parse(text)
            except Problem:
                continue
        raise Problem(f"{text!r} is not a {name_of(self.kind)}")


def make(annotation: Any, codec_of: CodecOf) -> Codec | None:
    """Return the codec of a container or a union; None for any other annotation."""
    origin = typing.get_origin(annotation)
    parts = typing.get_args(annotation)
    base = origin or annotation
    if is_union(origin):
        return _union(annotation, parts, codec_of)
    if not isinstance(base, typing.Hashable):
        return None
    if base is tuple:
        if not parts:
            any_length = annotation in (tuple, typing.Tuple)
            return _Endless(annotation, tuple, codec_of(Any)) if any_length else _Tuple(annotation, ())
        if len(parts) == 2 and parts[1] is Ellipsis:
            return _Endless(annotation, tuple, codec_of(parts[0]))
        return _Tuple(annotation, tuple(codec_of(part) for part in parts))
    if base in _SEQUENCES:
        return _Many(annotation, _SEQUENCES[base], codec_of(parts[0] if parts else Any))
    if base in _MAPPINGS:
        key, item = parts or (Any, Any)
        return _Mapping(annotation, _MAPPINGS[base], codec_of(key), codec_of(item))
    return None


def _union(annotation: Any, parts: tuple[Any, ...], codec_of: CodecOf) -> Codec:
    others = tuple(part for part in parts if part is not type(None))
    inner = codec_of(others[0]) if len(others) == 1 else _Union(annotation, tuple(codec_of(part) for part in others))
    return inner if len(others) == len(parts) else _Optional(annotation, inner)


def _is_json(kind: Any, items: list[Any]) -> bool:
    """Return whether JSON has all these values of one class. It lacks NaN, the infinities, and very long ints."""
    if kind is int:
        return all(item.bit_length() < 1000 for item in items)
    if kind is float:
        total = sum(items)
        return bool(total - total == 0)
    return True


def pair(data: Any) -> tuple[Any, Any]:
    """Return the key and the value in a JSON array of two items. Raise Problem for any other value."""
    if not isinstance(data, (list, tuple)) or len(data) != 2:
        raise Problem(f"expected a key and a value, got {shown(data)}")
    return data[0], data[1]


def hashable(value: Any) -> Any:
    """Return `value`. Raise Problem if it can be neither a key nor in a set."""
    try:
        hash(value)
    except TypeError:
        raise Problem(f"{type(value).__name__} {shown(value)} can be neither a key nor in a set") from None
    return value


def _at(key: Any) -> str:
    return f"[{shown(key, 30)}]"


def _key(key: Any) -> str:
    return f" key {shown(key)}"


def load_json(text: str, opening: str, kind: Any) -> Any:
    """Return the JSON array or object that a user typed for a value of `kind`. `opening` is `[` or `{`."""
    example = "[1, 2]" if opening == "[" else '{"name": 1}'
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Problem(
            f"{shown(text)} is not JSON ({error})", hint=f"{name_of(kind)} is written as JSON: {example}"
        ) from None
    if not isinstance(value, list if opening == "[" else dict):
        raise Problem(f"{shown(text)} is not a {name_of(kind)}", hint=f"as JSON: {example}")
    return value


def from_json(data: Any, item: Codec) -> Any:
    """Return the value of a part of the JSON that a user typed: of a text, or of the JSON of any other part."""
    if isinstance(data, str):
        return item.parse(data)
    return item.parse(json.dumps(data))
