"""The two answers to a warm call are separated, in whatever pieces they arrive."""

from __future__ import annotations

import pytest

from flyte_images_runtime.execution.call_streams import split_answers
from flyte_images_runtime.portable import framing
from flyte_images_runtime.values import Problem
from flyte_images_runtime.values.budget import Budget

BUDGET = Budget(memory=1 << 20, disk=0)


def test_answers_come_only_when_both_are_complete() -> None:
    sent = b"".join(framing.head(text) + text for text in (b'{"result": 1}', b'{"status": 0}'))
    arrived = bytearray()
    for at in range(len(sent) - 1):
        arrived += sent[at : at + 1]
        assert split_answers(arrived, BUDGET) is None
    arrived += sent[-1:]
    assert split_answers(arrived, BUDGET) == [{"result": 1}, {"status": 0}]
    assert arrived == b""


def test_a_fork_may_send_an_empty_answer() -> None:
    assert split_answers(bytearray(framing.head(b"") + framing.head(b"{}") + b"{}"), BUDGET) == [{}, {}]


def test_a_long_answer_and_invalid_json_are_refused() -> None:
    for sent in (b"\xff\xff\xff\xff", framing.head(b"{") + b"{" + framing.head(b"")):
        with pytest.raises(Problem):
            split_answers(bytearray(sent), BUDGET)
