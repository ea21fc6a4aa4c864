"""Values that a container should not send: each is a Problem with a place, and costs almost nothing."""

from __future__ import annotations

import enum
import fractions
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pandas
import polars
import pyarrow
import pydantic
import pytest

from flyte_images_runtime.values import Files, Problem, Signature, codec


class Color(enum.Enum):
    RED = 1


class Flags(enum.Flag):
    A = 1


@dataclass
class Refusing:
    a: int

    def __post_init__(self) -> None:
        raise RuntimeError("never")


class Model(pydantic.BaseModel):
    a: float
    b: list[float] = []


HOSTILE: list[tuple[Any, Any, str]] = [
    (Flags, {"value": 99}, "result"),
    (Color, {"value": 99}, "result"),
    (dict[str, list[int]], {"a": [0, 0, 0, {"hex": "zz"}]}, r"result\['a'\]\[3\]"),
    (Any, {"a": [1, {"$type": "int", "is": {"hex": "zz"}}]}, r"result\['a'\]\[1\]"),
    (Any, [{"$type": "dict", "is": [[1, {"$type": "no"}]]}], r"result\[0\]\[1\]"),
    (list[float], [10**400], r"result\[0\]"),
    (fractions.Fraction, "1e1000000000", "result"),
    (Any, {"a": {"$type": "Fraction", "is": "1e-1000000000"}}, r"result\['a'\]"),
    (range, "[" * 25_000, "result"),
    (list[Refusing], [{"a": 1}], r"result\[0\]"),
    (numpy.ndarray, {"npy": "1.arrow"}, "result"),
    (polars.DataFrame, {"arrow": "1.arrow"}, "result"),
    (pyarrow.Table, {"arrow": "1.arrow"}, "result"),
    (pandas.DataFrame, {"index": {"range": [0, 1, 0]}, "columns": [], "names": {"range": [0, 0, 1]}}, "result"),
    (pandas.Series, {"index": {"column": {"texts": [1, {}]}}, "column": {"objects": [3]}, "name": None}, "result"),
    (list[numpy.float32], [["O", "00"]], r"result\[0\]"),
]


@pytest.mark.parametrize(("annotation", "data", "where"), HOSTILE, ids=[str(number) for number in range(len(HOSTILE))])
def test_each_hostile_value_is_a_problem_with_a_place(annotation: Any, data: Any, where: str, tmp_path: Path) -> None:
    """D26, D10: no raw error, no work without end."""
    (tmp_path / "1.arrow").write_bytes(b"ARROW1\0\0" + b"\xff" * 100 + b"\x10\0\0\0ARROW1")
    with Files(str(tmp_path)) as files, pytest.raises(Problem, match=f"{where}[`:]"):
        signature(annotation).decode_result(data, files)


def signature(annotation: Any) -> Signature:
    def function() -> Any: ...

    return Signature(function, {"return": annotation})


def test_quoted_values_are_short(tmp_path: Path) -> None:
    """D26: a message about a value of millions of items does not contain them."""
    with Files(str(tmp_path)) as files:
        for data in ([1] * 1_000_000, "x" * 1_000_000, {"x" * 100_000: 1}, [["x" * 100_000]]):
            with pytest.raises(Problem) as caught:
                codec(int).decode(data, files)
            assert len(caught.value.message) < 200
        with pytest.raises(Problem) as caught:
            signature(Any).decode_result({"x" * 100_000: {"$type": "no"}}, files)
        assert len(str(caught.value)) < 2000


NAN, INF = math.nan, math.inf
NUMBERS: list[tuple[Any, Any, str]] = [
    (float, NAN, '"NaN"'),
    (list[float], [1.0, -INF], '[1.0, "-Infinity"]'),
    (list[float], [1e308, 1e308], "[1e+308, 1e+308]"),
    (dict[str, float], {"a": INF}, '{"a": "Infinity"}'),
    (Any, [NAN], '[{"$type": "float", "is": "NaN"}]'),
    (Model, Model(a=NAN, b=[INF]), r'{"$json": "{\"a\": NaN, \"b\": [Infinity]}"}'),
]


@pytest.mark.parametrize(("annotation", "value", "text"), NUMBERS)
def test_nan_and_infinity_are_valid_json(annotation: Any, value: Any, text: str) -> None:
    """D25: one rule for arguments, results and stored results."""
    with Files("/nowhere") as files:
        sent = codec(annotation).encode(value, files)
        assert json.dumps(sent, allow_nan=False) == text
        assert repr(codec(annotation).decode(json.loads(text), files)) == repr(value)


@pytest.mark.parametrize("number", [10**5000, -(10**5000)], ids=["positive", "negative"])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value]], ids=["alone", "in a list"])
def test_large_ints_cross_both_ways(number: int, wrap: Callable[[Any], Any]) -> None:
    """D25: more than 4300 digits."""
    for annotation in (type(wrap(number)), Any):
        with Files("/nowhere") as files:
            sent = json.loads(json.dumps(codec(annotation).encode(wrap(number), files)))
            assert codec(annotation).decode(sent, files) == wrap(number)


def test_an_int_too_large_for_a_float_is_a_problem_with_its_place() -> None:
    """D26: on the way out as well."""
    with Files("/nowhere") as files, pytest.raises(Problem, match=r"result\[1\]"):
        signature(list[float]).encode_result([1.0, 10**400], files)
