"""Every result of a task is printed as JSON that every reader accepts."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from pathlib import Path
from typing import Any

import numpy
import pandas
import polars
import pyarrow
import pytest

from flyte_images.cli.render_result import as_text, encodable


@dataclasses.dataclass
class Row:
    a: float


class Color(enum.Enum):
    RED = 1


def strict(word: str) -> Any:
    raise AssertionError(word)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (math.nan, "NaN"),
        ([math.inf, -math.inf, 1.5], ["Infinity", "-Infinity", 1.5]),
        ({math.nan: 1, 2: 2, True: 3, None: 4}, {"NaN": 1, "2": 2, "true": 3, "null": 4}),
        ({(1, 2): "a"}, {"[1, 2]": "a"}),
        (Row(math.nan), {"a": "NaN"}),
        (10**5000, hex(10**5000)),
        ({"a": [numpy.float64("nan"), numpy.array([1.0, math.nan])]}, {"a": ["NaN", [1.0, "NaN"]]}),
        (pandas.DataFrame({"a": [math.nan]}), {"a": {"0": "NaN"}}),
        (polars.DataFrame({"a": [1, None]}), {"a": [1, None]}),
        (pyarrow.table({"a": [1]}), [{"a": 1}]),
        ({"set": {2, 1}, "path": Path("x"), "color": Color.RED}, {"set": [1, 2], "path": "x", "color": "Color.RED"}),
        ("a\ud800", "a\ud800"),
        ({"\udfff": "é"}, {"\udfff": "é"}),
    ],
    ids=[str(number) for number in range(13)],
)
def test_results_are_json(value: Any, read: Any) -> None:
    """D25: NaN, infinities, lone surrogates, ints of more than 4300 digits, keys that are not text."""
    text = as_text(value)
    assert json.loads(text.encode("utf-8"), parse_constant=strict) == read


def test_text_with_lone_surrogates_can_be_written() -> None:
    """D25: a str result with a lone surrogate."""
    assert encodable("é\udc80").encode("utf-8") == "é\\udc80".encode()
