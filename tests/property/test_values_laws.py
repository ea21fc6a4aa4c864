"""Laws of values: a value of any type crosses unchanged; a value of another type does not cross."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import tempfile
import uuid
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flyte_images_runtime.values import Files, Problem, codec

Pair = tuple[Any, Any]

_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, st.floats(allow_nan=False)),
    (bool, st.booleans()),
    (str, _text),
    (bytes, st.binary(max_size=50)),
    (type(None), st.none()),
    (datetime.datetime, st.datetimes(timezones=st.none() | st.just(datetime.timezone.utc))),  # noqa: UP017
    (datetime.date, st.dates()),
    (datetime.timedelta, st.timedeltas()),
    (decimal.Decimal, st.decimals(allow_nan=False)),
    (uuid.UUID, st.uuids()),
]


def _deeper(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    """Return a type made of other types, and a value of it."""

    def grown(pairs: list[Pair], key: Any, keys: list[Any], kind: str) -> Pair:
        (annotation, value), *more = pairs
        match kind:
            case "list":
                return list[annotation], [value]
            case "many":
                return tuple[annotation, ...], (value, value)
            case "tuple":
                return tuple[tuple(one for one, _ in pairs)], tuple(one for _, one in pairs)
            case "dict":
                return dict[key, annotation], dict.fromkeys(keys, value)
            case "union":
                return annotation | (str if annotation is not str else int), value
            case "optional":
                return annotation | None, value if more else None
        return annotation, value

    keyed = st.one_of(
        *(st.tuples(st.just(kind), st.lists(values, max_size=3)) for kind, values in SCALARS if kind is not type(None))
    )
    kinds = st.sampled_from(["list", "many", "tuple", "dict", "optional", "union"])
    return st.builds(
        lambda pairs, keys, kind: grown(pairs, keys[0], keys[1], kind),
        st.lists(inner, min_size=1, max_size=3),
        keyed,
        kinds,
    )


pairs = st.recursive(st.one_of(*(st.tuples(st.just(kind), values) for kind, values in SCALARS)), _deeper, max_leaves=8)


@given(pairs)
def test_a_value_crosses_unchanged_typed_and_untyped(pair: Pair) -> None:
    annotation, value = pair
    for one in (codec(annotation), codec(Any)):
        with tempfile.TemporaryDirectory() as directory, Files(directory) as files:
            crossing = json.loads(json.dumps(one.encode(value, files)))
            found = one.decode(crossing, files)
        assert found == value
        assert type(found) is type(value)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$type", "is", "file", "npy", "a", "hex", "name"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(pairs, junk)
def test_any_data_is_a_value_of_the_type_or_a_problem(pair: Pair, data: Any) -> None:
    annotation, _ = pair
    one = codec(annotation)
    with tempfile.TemporaryDirectory() as directory, Files(directory) as files:
        try:
            found = one.decode(data, files)
        except Problem:
            return
        again = one.decode(json.loads(json.dumps(one.encode(found, files))), files)
    assert again == found or _has_nan(found)


def _has_nan(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_nan, (*value, *value.values())))
    if isinstance(value, (list, tuple, set)):
        return any(map(_has_nan, value))
    return isinstance(value, (float, decimal.Decimal)) and math.isnan(value)


@given(junk)
def test_untyped_junk_is_a_value_or_a_problem(data: Any) -> None:
    """What decodes without an annotation is made of plain values, and encodes again."""
    with tempfile.TemporaryDirectory() as directory, Files(directory) as files:
        try:
            found = codec(Any).decode(data, files)
        except Problem as problem:
            assert str(problem)
            return
        if not _has_nan(found):
            crossing = json.loads(json.dumps(codec(Any).encode(found, files)))
            assert codec(Any).decode(crossing, files) == found
