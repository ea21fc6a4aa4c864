"""The quick JSON is `json`'s: same texts, same values, same refusals, and without what makes `json` slow to import."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_images_runtime.portable import fast_json

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_VALUES)
def test_it_writes_and_reads_as_json_does(value: Any) -> None:
    text = fast_json.dumps(value)
    assert text == json.dumps(value)
    assert fast_json.loads(text) == fast_json.loads(f" {text}\n".encode()) == value


def test_it_knows_the_numbers_that_are_none() -> None:
    read = fast_json.loads(fast_json.dumps([math.nan, math.inf, -math.inf]))
    assert math.isnan(read[0])
    assert read[1:] == [math.inf, -math.inf]


@pytest.mark.parametrize("text", ["", " ", "[1", "1 2", '{"a" 1}', "nul", "'a'", b"\xff"])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        fast_json.loads(text)


def test_what_json_has_no_form_for_is_refused() -> None:
    with pytest.raises(TypeError, match="set is not JSON serializable"):
        fast_json.dumps({"a": {1}})
    itself: list[Any] = []
    itself.append(itself)
    with pytest.raises(ValueError, match="Circular"):
        fast_json.dumps(itself)
