"""Bytes are split into lines, and a bounded log keeps its beginning and its end."""

from __future__ import annotations

import pytest

from flyte_images_runtime.task import line_splitter as lines_module
from flyte_images_runtime.task.line_splitter import LineSplitter
from flyte_images_runtime.task.log import Log


def split(*parts: bytes) -> list[str]:
    lines: list[str] = []
    splitter = LineSplitter("stdout", lambda stream, line: lines.append(line))
    for part in parts:
        splitter.feed(part)
    splitter.finish()
    return lines


def test_lines_are_whole_however_they_arrive() -> None:
    text = "erste\r\nzwei ü\n\nlast".encode()
    for size in range(1, len(text)):
        assert split(text[:size], text[size:]) == ["erste", "zwei ü", "", "last"]
    assert split(b"a\n") == ["a"]
    assert split(b"\xff\n") == ["\ufffd"]
    assert split(b"half \xc3") == ["half \ufffd"]


def test_an_endless_line_is_passed_on_in_parts() -> None:
    lines = split(b"x" * 200_000, b"y\n")
    assert "".join(lines) == "x" * 200_000 + "y"
    assert max(map(len, lines)) <= 1 << 16


def test_a_line_that_overwrites_itself_is_its_last_state() -> None:
    assert split(b"10%\r20%\r100%\nnext\n") == ["100%", "next"]
    assert split(b"10%\r", b"\n") == ["10%"]
    assert split(b"bar\r   \r") == ["   \r", "   "]
    assert split(b"\r\r") == []


def test_the_state_of_an_open_line_is_passed_on_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(lines_module.time, "monotonic", lambda: now)
    passed_on: list[str] = []
    splitter = LineSplitter("stderr", lambda stream, line: passed_on.append(line))
    for number in range(10):
        splitter.feed(f"\r{number}0%|#".encode())
        now += 0.2
    splitter.feed(b"\r100%|#\n")
    assert passed_on == ["00%|#\r", "30%|#\r", "60%|#\r", "90%|#\r", "100%|#"]
    log = Log()
    for line in passed_on:
        log.add("stderr", line)
    assert log.text == "100%|#"


def test_a_full_log_keeps_its_beginning_and_its_end() -> None:
    log = Log(head=100, tail=200)
    for number in range(1000):
        log.add("stdout" if number % 2 else "stderr", f"line {number:04}")
    lines = log.text.splitlines()
    assert lines[0] == "line 0000"
    assert lines[-1] == "line 0999"
    assert len(log.text) < 400
    assert f"... {log.left_out} lines left out ..." in lines
    assert len(log) + log.left_out == 1000


def test_streams_can_be_read_apart() -> None:
    log = Log()
    log.add("stdout", "a")
    log.add("stderr", "b")
    assert (log.stdout, log.stderr, str(log)) == ("a", "b", "a\nb")
