"""Codecs of classes with named fields: dataclasses, NamedTuple, TypedDict, pydantic models."""

from __future__ import annotations

import dataclasses
import json
import typing
from typing import Any

from .base import Codec
from .containers import from_json, load_json
from .errors import Problem, expected, located, name_of
from .files import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import CodecOf


class _Fields(Codec):
    """The base of the codecs with one codec for each field, made at first use, since a class may contain itself."""

    def __init__(self, kind: Any, codec_of: CodecOf) -> None:
        super().__init__(kind)
        self._codec_of = codec_of
        self.cls = typing.get_origin(kind) or kind
        arguments = zip(getattr(self.cls, "__parameters__", ()), typing.get_args(kind))  # noqa: B905 Python 3.8
        self._arguments = dict(arguments)
        self._fields: dict[str, Codec] | None = None

    def fields(self) -> dict[str, Codec]:
        """Return the codec of each field. Raise Problem if one cannot cross."""
        if self._fields is None:
            try:
                hints = typing.get_type_hints(self.cls, **_EXTRAS)
            except Exception as error:
                raise Problem(f"the annotations of {name_of(self.kind)} cannot be read: {error}") from None
            fields = {}
            for name in self.names(hints):
                try:
                    fields[name] = self._codec_of(self._substituted(hints.get(name, Any)))
                except Problem as problem:
                    raise problem.inside(f".{name}") from None
            self._fields = fields
        return self._fields

    def _substituted(self, hint: Any) -> Any:
        """Return a field's annotation with the arguments of a generic class: `list[T]` in `Box[int]` is `list[int]`."""
        if isinstance(hint, typing.TypeVar):
            return self._arguments.get(hint, hint)
        free = getattr(hint, "__parameters__", ()) if self._arguments and typing.get_origin(hint) is not None else ()
        return hint[tuple(self._arguments.get(variable, variable) for variable in free)] if free else hint

    def names(self, hints: dict[str, Any]) -> list[str]:
        """Return the names of the fields, in order."""
        return list(hints)

    def encode_fields(self, get: Any, names: Any, files: Files) -> dict[str, Any]:
        """Return the JSON forms of the fields `names`, whose values `get` returns."""
        return {name: self._convert(name, "encode", get(name), files) for name in names}

    def decode_fields(self, data: Any, files: Files) -> dict[str, Any]:
        """Return the values of the fields in a JSON object. Raise Problem for an unknown field."""
        if not isinstance(data, dict):
            raise expected(self.kind, data)
        unknown = sorted(set(data) - set(self.fields()))
        if unknown:
            raise Problem(f"{name_of(self.kind)} has no field `{unknown[0]}`")
        return {name: self._convert(name, "decode", item, files) for name, item in data.items()}

    def _convert(self, name: str, way: str, value: Any, files: Files) -> Any:
        return located(f".{name}", getattr(self.fields()[name], way), value, files)

    def parse(self, text: str) -> Any:
        given = load_json(text, "{", self.kind)
        unknown = sorted(set(given) - set(self.fields()))
        if unknown:
            raise Problem(
                f"{name_of(self.kind)} has no field `{unknown[0]}`", hint="the fields are " + ", ".join(self.fields())
            )
        values = {}
        for name, item in given.items():
            try:
                values[name] = from_json(item, self.fields()[name])
            except Problem as problem:
                raise problem.inside(f".{name}") from None
        return self.build(values)

    def build(self, values: dict[str, Any]) -> Any:
        """Return an object with these fields. Raise Problem if the class refuses them."""
        try:
            return self.kind(**values)
        except (TypeError, ValueError) as error:
            raise Problem(f"{name_of(self.kind)} refuses the values: {error}") from None


class _Dataclass(_Fields):
    def names(self, hints: dict[str, Any]) -> list[str]:
        return [field.name for field in dataclasses.fields(self.cls)]

    def accepts(self, value: Any) -> bool:
        return isinstance(value, self.cls)

    def encode(self, value: Any, files: Files) -> Any:
        if type(value) is not self.cls:
            hint = "annotate with the class itself, or a union of the classes" if isinstance(value, self.cls) else None
            problem = expected(self.kind, value)
            raise Problem(problem.message, hint=hint)
        return self.encode_fields(lambda name: getattr(value, name), self.fields(), files)

    def decode(self, data: Any, files: Files) -> Any:
        values = self.decode_fields(data, files)
        parameters = {f.name for f in dataclasses.fields(self.cls) if f.init}
        result = self.build({name: item for name, item in values.items() if name in parameters})
        for name in values.keys() - parameters:  # computed fields have the values of the other side
            object.__setattr__(result, name, values[name])
        return result


class _NamedTuple(_Fields):
    def names(self, hints: dict[str, Any]) -> list[str]:
        return list(self.cls._fields)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, self.cls)

    def encode(self, value: Any, files: Files) -> Any:
        if not isinstance(value, self.cls):
            raise expected(self.kind, value)
        return self.encode_fields(lambda name: getattr(value, name), self.fields(), files)

    def decode(self, data: Any, files: Files) -> Any:
        return self.build(self.decode_fields(data, files))


class _TypedDict(_Fields):
    def accepts(self, value: Any) -> bool:
        return isinstance(value, dict) and self.required() <= set(value) <= set(self.fields())

    def required(self) -> set[str]:
        """Return the keys that a value must have."""
        return set(getattr(self.cls, "__required_keys__", self.fields() if self.cls.__total__ else ()))

    def encode(self, value: Any, files: Files) -> Any:
        if not isinstance(value, dict):
            raise expected(self.kind, value)
        self._check(set(value))
        return self.encode_fields(value.__getitem__, value, files)

    def decode(self, data: Any, files: Files) -> Any:
        values = self.decode_fields(data, files)
        self._check(set(values))
        return values

    def build(self, values: dict[str, Any]) -> Any:
        self._check(set(values))
        return values

    def _check(self, keys: set[str]) -> None:
        missing, unknown = sorted(self.required() - keys), sorted(keys - set(self.fields()))
        if missing or unknown:
            what = f"lacks `{missing[0]}`" if missing else f"has no key `{unknown[0]}`"
            raise Problem(f"{name_of(self.kind)} {what}")


_TEXT = "$json"


def _is_finite(value: Any) -> bool:
    """Return whether JSON has each float in a tree of lists and dicts: none is NaN or an infinity."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or value - value == 0


class _Model(Codec):
    """A pydantic model crosses as its own JSON, which the model checks; with NaN or an infinity as a text of JSON."""

    def encode(self, value: Any, files: Files) -> Any:
        if not isinstance(value, self.kind):
            raise expected(self.kind, value)
        if type(value) is not self.kind:
            raise Problem(expected(self.kind, value).message, hint="annotate with the class itself, or a union")
        try:
            text = value.model_dump_json(round_trip=True)
            document = json.loads(text)
            if any(word in text for word in ("null", "NaN", "Infinity")):  # pydantic writes NaN as null by default
                exact = value.model_dump(mode="json", round_trip=True)
                if not _is_finite(exact):
                    return {_TEXT: json.dumps(exact)}
            return document
        except Exception as error:
            raise Problem(f"{name_of(self.kind)} has no JSON form: {error}") from None

    def decode(self, data: Any, files: Files) -> Any:
        if isinstance(data, dict) and set(data) == {_TEXT} and isinstance(data[_TEXT], str):
            files.json_text(data[_TEXT])
            return self.parse(data[_TEXT])
        return self.parse(json.dumps(data))

    def parse(self, text: str) -> Any:
        import pydantic

        try:
            return self.kind.model_validate_json(text)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            path = tuple(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
            raise Problem(f"{name_of(self.kind)}: {first['msg']}", path) from None


def make(annotation: Any, codec_of: CodecOf) -> Codec | None:
    """Return the codec of a class with fields; None for any other annotation."""
    kind = typing.get_origin(annotation) or annotation
    if not isinstance(kind, type):
        return None
    if hasattr(kind, "model_validate_json") and hasattr(kind, "model_dump_json"):
        return _Model(kind)
    if dataclasses.is_dataclass(kind):
        return _Dataclass(annotation, codec_of)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _NamedTuple(annotation, codec_of)
    if issubclass(kind, dict) and hasattr(kind, "__total__"):
        return _TypedDict(annotation, codec_of)
    return None


_EXTRAS: dict[str, Any] = (
    {"include_extras": True} if "include_extras" in typing.get_type_hints.__code__.co_varnames else {}
)
