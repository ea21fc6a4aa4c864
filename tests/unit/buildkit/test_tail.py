"""The part of a step's log that an error shows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flyte_images.buildkit.tail import Tail


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(0, 9)), max_size=60), st.data())
def test_pieces_of_two_streams_become_whole_lines(lines: list[tuple[int, int]], data: st.DataObject) -> None:
    streams = {1: b"", 2: b""}
    for stream, number in lines:
        streams[stream] += f"{stream}:{number}\n".encode()
    tail = Tail()
    while any(streams.values()):
        stream = data.draw(st.sampled_from([key for key, rest in streams.items() if rest]))
        cut = data.draw(st.integers(1, len(streams[stream])))
        tail.feed(stream, streams[stream][:cut])
        streams[stream] = streams[stream][cut:]
    shown = tail.text().splitlines()
    for stream in (1, 2):
        written = [f"{stream}:{number}" for of, number in lines if of == stream]
        kept = [line for line in shown if line.startswith(f"{stream}:")]
        assert kept == written[len(written) - len(kept) :]
    assert len(shown) == min(40, len(lines))


def test_an_unfinished_line_is_last_and_keeps_its_end() -> None:
    tail = Tail()
    tail.feed(1, b"x" * 10_000 + b"end")
    tail.feed(2, b"whole\n")
    whole, last = tail.text().splitlines()
    assert whole == "whole"
    assert last.endswith("end")
    assert len(last) == 4096


def test_an_overwritten_line_shows_its_last_state() -> None:
    tail = Tail()
    tail.feed(1, b"10%\r90%\r\n")
    assert tail.text() == "90%"
