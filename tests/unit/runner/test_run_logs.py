"""What runs print is kept in order and bounded, and can be followed."""

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


def keeper(environ: dict[str, str], run: str = "abcd") -> LogWriter:
    return LogWriter(environ, run, about={"task": "a.b"})


def test_lines_come_back_with_their_streams_and_times(environ: dict[str, str]) -> None:
    made = keeper(environ)
    assert list_runs(environ) == {}, "who prints nothing has no log"
    made.add("stdout", "one")
    made.add("stderr", "zwei \u2028 \x1b[1m \r three")
    made.add("stdout", "")
    assert is_active(environ, "abcd")
    made.close()
    assert not is_active(environ, "abcd")
    found = list(lines(environ, "abcd"))
    assert [(line.stream, line.text) for line in found] == [
        ("stdout", "one"),
        ("stderr", "zwei \u2028 \x1b[1m \r three"),
        ("stdout", ""),
    ]
    assert sorted(line.time for line in found) == [line.time for line in found]
    assert list_runs(environ)["abcd"]["task"] == "a.b"
    [file] = run_logs.logs_directory(environ).iterdir()
    assert file.stat().st_mode & 0o077 == 0 and file.parent.stat().st_mode & 0o077 == 0


def test_the_beginning_and_the_end_stay(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_logs, "PART", 1000)
    made = keeper(environ)
    for number in range(2000):
        made.add("stdout", f"line {number}")
    made.close()
    found = [line.text for line in lines(environ, "abcd")]
    at = found.index("... lines left out ...")
    assert found[:at] == [f"line {number}" for number in range(at)] and at > 10
    rest = found[at + 1 :]
    assert rest == [f"line {number}" for number in range(2000 - len(rest), 2000)] and len(rest) > 100
    assert sum(file.stat().st_size for file in run_logs.logs_directory(environ).iterdir()) < 10_000


def test_of_a_line_that_overwrites_itself_states_are_kept_now_and_then(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(run_logs.time, "monotonic", lambda: now)
    made = keeper(environ)
    for number in range(24):
        made.state("stderr", f"{number}%")
        now += 0.5
    made.add("stderr", "100%")
    made.close()
    assert [line.text for line in lines(environ, "abcd")] == ["0%", "10%", "20%", "100%"]


def test_a_log_is_followed_until_its_end(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_logs, "PART", 2000)
    made = keeper(environ)
    made.add("stdout", "first")
    following = lines(environ, "abcd", follow=True)
    assert next(following).text == "first"
    made.add("stdout", "second")
    assert next(following).text == "second"

    def write() -> None:
        for number in range(150):
            made.add("stderr", f"more {number}")
        made.close()

    writing = threading.Thread(target=write)
    writing.start()
    assert [line.text for line in following] == [f"more {number}" for number in range(150)]
    writing.join()


def test_the_log_of_a_killed_writer_has_ended(environ: dict[str, str]) -> None:
    code = (
        "import sys, time\nfrom flyte_images.runner.run_logs import LogWriter\n"
        f"made = LogWriter({environ!r}, 'abcd', about={{}})\n"
        "made.add('stdout', 'alive')\nprint('written', flush=True)\ntime.sleep(1000)"
    )
    with subprocess.Popen((sys.executable, "-c", code), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        assert is_active(environ, "abcd")
        process.kill()
        process.wait()
    assert not is_active(environ, "abcd")
    assert [line.text for line in lines(environ, "abcd", follow=True)] == ["alive"]


def test_the_oldest_go_when_there_is_too_much(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_logs, "_RUNS", 3)
    held = keeper(environ, "1111")
    held.add("stdout", "it is written still")
    for number in range(2, 8):
        made = keeper(environ, f"{number}{number}{number}{number}")
        made.add("stdout", "x")
        made.close()
    last = keeper(environ, "0000")  # one of those that look
    last.add("stdout", "x")
    last.close()
    assert set(list_runs(environ)) == {"1111", "6666", "7777", "0000"}
    held.close()


def test_logs_go_with_their_runs(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_LARGEST", 2000)
    for number in range(30):
        made = keeper(environ, f"{number:04x}1")
        made.add("stdout", "x")
        made.close()
        history.record(environ, task="a.b", image="x:1", run=f"{number:04x}1", end="done")
    known = {run["id"] for run in history.recent(environ, 1000)}
    assert 2 < len(known) < 30
    assert set(list_runs(environ)) == known


def test_no_run_fails_because_it_cannot_be_list_runs() -> None:
    for environ in ({"FLYTE_IMAGES_CACHE": "/proc/nowhere"}, {}):
        made = keeper(environ)
        made.add("stdout", "x")
        made.add("stdout", "y")
        made.close()
