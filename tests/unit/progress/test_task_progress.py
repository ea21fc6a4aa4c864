"""The output and usage of running tasks, on terminals and elsewhere; the progress of maps."""

from __future__ import annotations

import io
import json
import threading

import pytest

from flyte_images.progress import map_progress as counting_module
from flyte_images.progress import task_progress as tasks_module
from flyte_images.progress.map_progress import MapProgress
from flyte_images.progress.status_line import StatusLine, open_status_line, say
from flyte_images.progress.task_progress import TaskProgress
from flyte_images_runtime.resources.metrics import Usage


def screen(written: str) -> list[str]:
    """Return the text on a terminal at the end: carriage returns overwrite, and the rest of a line can be erased."""
    rows: list[str] = []
    for line in written.replace("\x1b[2m", "").replace("\x1b[0m", "").split("\n"):
        shown = ""
        for part in line.split("\r"):
            if part.startswith("\x1b[K"):
                shown, part = "", part[3:]
            shown = part + shown[len(part) :]
        rows.append(shown)
    return rows


def test_lines_are_printed_above_the_live_line() -> None:
    stream = io.StringIO()
    below = StatusLine(stream, live=True)
    below.show("working, a long line")
    below.print("first")
    below.show("more")
    below.print("second")
    assert screen(stream.getvalue()) == ["first", "second", "more"]
    below.close()
    assert screen(stream.getvalue()) == ["first", "second", ""]


def test_without_a_terminal_only_lines_are_written() -> None:
    stream = io.StringIO()
    below = StatusLine(stream, live=False)
    below.show("working")
    below.print("first")
    below.close()
    assert stream.getvalue() == "first\n"


def test_a_line_that_is_too_wide_is_cut_and_lines_of_threads_stay_whole() -> None:
    stream = io.StringIO()
    below = StatusLine(stream, live=True)
    below.show("x" * 500)
    assert len(screen(stream.getvalue())[-1]) == 79
    threads = [
        threading.Thread(target=lambda name=name: [below.print(f"{name}{at}") for at in range(50)]) for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    below.close()
    rows = screen(stream.getvalue())
    assert sorted(rows[:-1]) == sorted(f"{name}{at}" for name in "abcd" for at in range(50))


def test_a_broken_stream_raises_nothing() -> None:
    stream = io.StringIO()
    below = StatusLine(stream, live=True)
    stream.close()
    below.show("x")
    below.print("y")
    below.close()


def test_lines_of_say_are_printed_above_the_live_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("alone")
    assert capsys.readouterr().err == "alone\n"
    stream = io.StringIO()
    with open_status_line(StatusLine(stream, live=True)) as below:
        below.show("3 of 4")
        say("[a.b] hello")
    assert screen(stream.getvalue()) == ["[a.b] hello", ""]
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_the_usage_until_the_end() -> None:
    stream = io.StringIO()
    with TaskProgress("tty", stream, main="ml.train", limit={"ml.train": 128_000_000}.get) as shown:
        assert screen(stream.getvalue()) == ["ml.train: starting"]
        shown.usage("ml.train", "a1", Usage(cpu=0.5, memory=64_000_000, throttled=0.3))
        assert screen(stream.getvalue()) == ["ml.train: 0.0 s, CPU 0.5 s, memory 64.0 MB of 128.0 MB, throttled 0.3 s"]
        shown.usage("ml.load", "b2", Usage(cpu=0.1))
        assert screen(stream.getvalue())[0].startswith("ml.train and 1 more: 0.0 s, CPU")
        shown.line("ml.train", "stdout", "epoch 0\repoch 1\r")
        shown.line("ml.load", "stderr", "loading")
        assert screen(stream.getvalue())[:2] == ["epoch 1", "[ml.load] loading"]
        shown.usage("ml.load", "b2", None)
        assert screen(stream.getvalue())[2].endswith("throttled 0.3 s")
        shown.usage("ml.train", "a1", None)
        assert screen(stream.getvalue())[2] == ""
        shown.show("done", "task")
    assert screen(stream.getvalue()) == ["epoch 1", "[ml.load] loading", "done", ""]


def test_a_progress_bar_is_in_the_live_line_until_its_line_ends() -> None:
    stream = io.StringIO()
    with TaskProgress("tty", stream, main="ml.train") as shown:
        shown.usage("ml.train", "a1", Usage(cpu=0.5))
        shown.state("ml.train", "stderr", " 10%|# ")
        assert screen(stream.getvalue()) == [" 10%|#   ml.train: 0.0 s, CPU 0.5 s"]
        shown.line("ml.train", "stdout", "by the way")
        shown.state("ml.train", "stderr", " 90%|#########")
        assert screen(stream.getvalue()) == ["by the way", " 90%|#########  ml.train: 0.0 s, CPU 0.5 s"]
        shown.line("ml.train", "stderr", "100%|##########")
        assert screen(stream.getvalue()) == ["by the way", "100%|##########", "ml.train: 0.0 s, CPU 0.5 s"]
        shown.state("ml.train", "stderr", "again")
        shown.usage("ml.train", "a1", None)
    assert screen(stream.getvalue()) == ["by the way", "100%|##########", ""]


def test_a_log_gets_progress_bars_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(tasks_module.time, "monotonic", lambda: now)
    stream = io.StringIO()
    with TaskProgress("plain", stream, main="ml.train") as shown:
        for number in range(80):
            shown.state("ml.train", "stderr", f"{number}%")
            now += 0.5
    assert stream.getvalue().splitlines() == ["0%", "30%", "60%"]


def test_a_log_gets_the_usage_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(tasks_module.time, "monotonic", lambda: now)
    stream = io.StringIO()
    with TaskProgress("plain", stream, main="ml.train") as shown:
        for _ in range(200):
            shown.usage("ml.train", "a1", Usage(cpu=now - 100, memory=1000))
            now += 0.5
    assert stream.getvalue().splitlines() == [
        "ml.train: runs for 30.0 s, CPU 30.0 s (100%), memory 1.0 kB",
        "ml.train: runs for 1 min 30 s, CPU 1 min 30 s (100%), memory 1.0 kB",
    ]


def test_a_program_gets_events(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(tasks_module.time, "monotonic", lambda: now)
    stream = io.StringIO()
    with TaskProgress("json", stream, main="ml.train") as shown:
        for _ in range(10):
            shown.usage("ml.train", "a1", Usage(cpu=now - 100))
            now += 0.5
        shown.line("ml.load", "stderr", "x")
        shown.usage("ml.train", "a1", None)
    *usages, output = map(json.loads, stream.getvalue().splitlines())
    assert [event["seconds"] for event in usages] == [0.0, 2.0, 4.0]
    assert usages[1] == {
        "event": "usage",
        "task": "ml.train",
        "run": "a1",
        "seconds": 2.0,
        "usage": {"cpu": 2.0},
    }
    assert output == {"event": "output", "task": "ml.load", "stream": "stderr", "text": "x"}


def counted(mode: str, monkeypatch: pytest.MonkeyPatch, pause: float) -> str:
    """Ten calls on two threads, the fourth of which fails."""
    now = 0.0
    monkeypatch.setattr(counting_module.time, "monotonic", lambda: now)
    stream = io.StringIO()
    counting = MapProgress("ml.train", 10, mode, stream)  # type: ignore[arg-type]
    for ended in range(1, 11):
        now += pause
        failed = int(ended >= 4)
        counting.update(ended - failed, failed, min(2, 10 - ended), max(0, 8 - ended))
    counting.below.close()
    return stream.getvalue()


def test_a_log_gets_the_progress_of_a_map(monkeypatch: pytest.MonkeyPatch) -> None:
    assert counted("plain", monkeypatch, 0.1).splitlines() == ["ml.train: 9 of 10 done, 1 failed in 1.0 s"]
    assert counted("plain", monkeypatch, 2.5).splitlines() == [
        "ml.train: 2 of 10 done, 2 running, 5.0 s, ~20.0 s left",
        "ml.train: 3 of 10 done, 1 failed, 2 running, 10.0 s, ~15.0 s left",
        "ml.train: 5 of 10 done, 1 failed, 2 running, 15.0 s, ~10.0 s left",
        "ml.train: 7 of 10 done, 1 failed, 2 running, 20.0 s, ~5.0 s left",
        "ml.train: 9 of 10 done, 1 failed in 25.0 s",
    ]
    assert counted("quiet", monkeypatch, 2.5) == ""


def test_a_terminal_shows_the_progress_of_a_map(monkeypatch: pytest.MonkeyPatch) -> None:
    written = counted("tty", monkeypatch, 1.0)
    assert screen(written) == ["ml.train: 9 of 10 done, 1 failed in 10.0 s", ""]
    assert "[#####-----] ml.train: 4 of 10 done, 1 failed, 2 running, 5.0 s, ~5.0 s left" in written


def test_a_program_gets_the_progress_of_a_map(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [json.loads(line) for line in counted("json", monkeypatch, 1.0).splitlines()]
    assert len(events) == 10
    assert events[3] == {
        "event": "map",
        "task": "ml.train",
        "done": 3,
        "failed": 1,
        "running": 2,
        "total": 10,
        "seconds": 4.0,
    }
