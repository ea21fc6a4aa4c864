"""D28: the values of secrets are removed from all texts of a task, in every form and however the text is cut."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_images_runtime.task.line_splitter import LineSplitter
from flyte_images_runtime.task.redaction import MASK, Redactor

VALUE = 'hunter2-"secret"-värde'


@pytest.mark.parametrize(
    "text", [VALUE, repr({"a": VALUE}), json.dumps([VALUE]), f"Bearer {VALUE}.", VALUE.replace("secret", "secret")]
)
def test_a_value_as_it_is_written_in_texts(text: str) -> None:
    """D28"""
    masked = Redactor([VALUE])(text)
    assert MASK in masked and "hunter2" not in masked and "secret" not in masked


@given(st.binary(max_size=9), st.binary(max_size=9), st.booleans())
def test_base64_of_a_value_wherever_it_stands(before: bytes, behind: bytes, urlsafe: bool) -> None:
    """D28"""
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    masked = Redactor([VALUE])(encode(before + VALUE.encode() + behind).decode())
    assert MASK in masked and len(masked) <= len(encode(before)) + len(encode(behind)) + len(MASK) + 4


def test_base64_that_is_wrapped_and_a_value_of_many_lines() -> None:
    """D28"""
    value = "-----BEGIN KEY-----\n" + "\n".join(f"{number}" * 64 for number in range(1, 8)) + "\n-----END KEY-----\n"
    redactor = Redactor([value])
    assert {redactor(line) for line in value.splitlines()} == {MASK}
    wrapped = base64.encodebytes(value.encode()).decode().splitlines()
    assert all(redactor(line).startswith(MASK) for line in wrapped[:-1])


def test_short_values_are_not_replaced() -> None:
    assert not Redactor(["", "abc", "a\nb"])
    assert Redactor(["", "abc"])("abc") == "abc"


@given(st.lists(st.integers(1, 70000), max_size=4), st.integers(65536 - 40, 65536 + 40))
def test_a_value_is_found_across_the_parts_of_a_long_line(cuts: list[int], before: int) -> None:
    """D28: a line of more than 64 KiB arrives in parts, and a read of the stream may end anywhere."""
    passed_on: list[str] = []
    raw = b"a" * before + VALUE.encode() + b"b" * 70000 + VALUE.encode() + b"\nnext\n"
    lines = LineSplitter("stdout", Redactor([VALUE, "aab"]).lines(lambda stream, text: passed_on.append(text)))
    for cut in [*cuts, len(raw)]:
        lines.feed(raw[:cut])
        raw = raw[cut:]
    lines.finish()
    assert passed_on[-1] == "next"
    assert "".join(passed_on[:-1]) == "a" * before + MASK + "b" * 70000 + MASK


def test_the_last_part_is_not_lost_where_the_stream_ends() -> None:
    passed_on: list[str] = []
    lines = LineSplitter("stdout", Redactor([VALUE]).lines(lambda stream, text: passed_on.append(text)))
    lines.feed(b"x" * 65536 + b"\r")
    lines.finish()
    assert "".join(passed_on) == "x" * 65536


def test_errors_are_documents_of_texts() -> None:
    error = {"message": f"bad {VALUE}", "cause": {"traceback": [VALUE, 1, None]}}
    assert Redactor([VALUE]).document(error) == {"message": f"bad {MASK}", "cause": {"traceback": [MASK, 1, None]}}
