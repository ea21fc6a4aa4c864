"""Run logs have the lines of runs in order, are bounded, and can be followed."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flyte_images.runner import history, run_logs
from flyte_images.runner.run_logs import LogWriter, is_active, lines, list_runs


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache")}


def writer(environ: dict[str, str], run: str = "abcd") -> LogWriter:
    return LogWriter(environ, run, about={"task": "a.b"})


def test_lines_are_read_with_their_streams_and_times(environ: dict[str, str]) -> None:
    log = writer(environ)
    assert list_runs(environ) == {}, "a run that prints nothing has no log"
    log.add("stdout", "one")
    log.add("stderr", "zwei \u2028 \x1b[1m \r three")
    log.add("stdout", "")
    assert is_active(environ, "abcd")
    log.close()
    assert not is_active(environ, "abcd")
    read = list(lines(environ, "abcd"))
    assert [(line.stream, line.text) for line in read] == [
        ("stdout", "one"),
        ("stderr", "zwei \u2028 \x1b[1m \r three"),
        ("stdout", ""),
    ]
    assert sorted(line.time for line in read) == [line.time for line in read]
    assert list_runs(environ)["abcd"]["task"] == "a.b"
    [file] = run_logs.logs_directory(environ).iterdir()
    assert file.stat().st_mode & 0o077 == 0 and file.parent.stat().st_mode & 0o077 == 0


def test_the_beginning_and_the_end_of_a_long_log_stay(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_logs, "PART", 1000)
    log = writer(environ)
    for number in range(2000):
        log.add("stdout", f"line {number}")
    log.close()
    texts = [line.text for line in lines(environ, "abcd")]
    at = texts.index("... lines left out ...")
    assert texts[:at] == [f"line {number}" for number in range(at)] and at > 10
    rest = texts[at + 1 :]
    assert rest == [f"line {number}" for number in range(2000 - len(rest), 2000)] and len(rest) > 100
    assert sum(file.stat().st_size for file in run_logs.logs_directory(environ).iterdir()) < 10_000


def test_a_line_that_overwrites_itself_is_recorded_every_five_seconds(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(run_logs.time, "monotonic", lambda: now)
    log = writer(environ)
    for number in range(24):
        log.state("stderr", f"{number}%")
        now += 0.5
    log.add("stderr", "100%")
    log.close()
    assert [line.text for line in lines(environ, "abcd")] == ["0%", "10%", "20%", "100%"]


def test_a_log_is_followed_until_the_run_ends(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_logs, "PART", 2000)
    log = writer(environ)
    log.add("stdout", "first")
    following = lines(environ, "abcd", follow=True)
    assert next(following).text == "first"
    log.add("stdout", "second")
    assert next(following).text == "second"

    def write() -> None:
        for number in range(150):
            log.add("stderr", f"more {number}")
        log.close()

    writing = threading.Thread(target=write)
    writing.start()
    assert [line.text for line in following] == [f"more {number}" for number in range(150)]
    writing.join()


def test_the_log_of_a_killed_writer_is_not_active(environ: dict[str, str]) -> None:
    code = (
        "import sys, time\nfrom flyte_images.runner.run_logs import LogWriter\n"
        f"log = LogWriter({environ!r}, 'abcd', about={{}})\n"
        "log.add('stdout', 'alive')\nprint('written', flush=True)\ntime.sleep(1000)"
    )
    with subprocess.Popen((sys.executable, "-c", code), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        assert is_active(environ, "abcd")
        process.kill()
        process.wait()
    assert not is_active(environ, "abcd")
    assert [line.text for line in lines(environ, "abcd", follow=True)] == ["alive"]


def test_the_oldest_logs_go_beyond_the_bounds_and_active_ones_stay(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_logs, "_RUNS", 3)
    active = writer(environ, "1111")
    active.add("stdout", "still active")
    for number in range(2, 8):
        log = writer(environ, f"{number}{number}{number}{number}")
        log.add("stdout", "x")
        log.close()
    last = writer(environ, "0000")  # an id for which the writer removes old logs
    last.add("stdout", "x")
    last.close()
    assert set(list_runs(environ)) == {"1111", "6666", "7777", "0000"}
    active.close()


def test_logs_go_with_their_runs_in_the_history(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_LARGEST", 2000)
    for number in range(30):
        log = writer(environ, f"{number:04x}1")
        log.add("stdout", "x")
        log.close()
        history.record(environ, task="a.b", image="x:1", run=f"{number:04x}1", end="done")
    known = {run["id"] for run in history.recent(environ, 1000)}
    assert 2 < len(known) < 30
    assert set(list_runs(environ)) == known


def test_a_log_that_cannot_be_written_is_no_error() -> None:
    for environ in ({"FLYTE_IMAGES_CACHE": "/proc/nowhere"}, {}):
        log = writer(environ)
        log.add("stdout", "x")
        log.add("stdout", "y")
        log.close()
