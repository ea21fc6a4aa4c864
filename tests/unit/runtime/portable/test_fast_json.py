"""fast_json does what `json` does: same texts, same values, same errors."""

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
def test_texts_and_values_are_those_of_json(value: Any) -> None:
    text = fast_json.dumps(value)
    assert text == json.dumps(value)
    assert fast_json.loads(text) == fast_json.loads(f" {text}\n".encode()) == value


def test_nan_and_the_infinities_are_read_back() -> None:
    read = fast_json.loads(fast_json.dumps([math.nan, math.inf, -math.inf]))
    assert math.isnan(read[0])
    assert read[1:] == [math.inf, -math.inf]


@pytest.mark.parametrize("text", ["", " ", "[1", "1 2", '{"a" 1}', "nul", "'a'", b"\xff"])
def test_another_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        fast_json.loads(text)


def test_a_value_without_a_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="set is not JSON serializable"):
        fast_json.dumps({"a": {1}})
    itself: list[Any] = []
    itself.append(itself)
    with pytest.raises(ValueError, match="Circular"):
        fast_json.dumps(itself)
