"""Words that name runs. No engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_images.cli.main import main
from flyte_images.cli.run_ref import Known, find
from flyte_images.errors import SpecError
from flyte_images.runner import history
from flyte_images.runner.run_logs import LogWriter

THERE = [
    Known(id="a1b2c3", task="ml.train", since=10.0),
    Known(id="a1b9ff", task="ml.train", since=20.0, runs=True, also="17-3"),
    Known(id="b00000", task="ml.test", since=30.0),
]


@pytest.mark.parametrize(
    ("word", "run"),
    [
        ("last", "a1b9ff"),  # it runs
        ("b", "b00000"),
        ("a1b2", "a1b2c3"),
        ("17-3", "a1b9ff"),
        ("ml.train", "a1b9ff"),
        ("test", "b00000"),
    ],
)
def test_a_word_means_one_run(word: str, run: str) -> None:
    assert find(word, THERE).id == run


def test_an_ambiguous_beginning_lists_the_runs() -> None:
    with pytest.raises(SpecError, match=r"`a1b` begins 2 ids:\n  a1b9ff  ml.train .*\n  a1b2c3  ml.train"):
        find("a1b", THERE)


def test_an_unknown_run_is_an_error_with_a_hint() -> None:
    with pytest.raises(SpecError, match="no run fits `trian`") as raised:
        find("trian", THERE)
    assert raised.value.hint == "did you mean `train`?"
    with pytest.raises(SpecError, match="no task has been run yet"):
        find("last", [])


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run that has printed five lines, and its id."""
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(tmp_path / "cache"))
    environ = {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache")}
    keeper = LogWriter(environ, "c0ffee", about={"task": "ml.train"})
    for number in range(5):
        keeper.add("stderr" if number == 3 else "stdout", f"line {number}")
    keeper.close()
    history.record(environ, run="c0ffee", task="ml.train", image="x:1", end="done")
    return "c0ffee"


def test_streams_are_separate(ended: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", ended[:3]]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("line 0\nline 1\nline 2\nline 4\n", "line 3\n")
    assert main(["logs", ended, "--tail", "2"]) == 0
    assert capsys.readouterr() == ("line 4\n", "line 3\n")
    assert main(["logs", ended, "--tail", "2", "--stdout"]) == 0
    assert capsys.readouterr() == ("line 2\nline 4\n", "")
    assert main(["logs", ended, "--follow", "-n", "1", "--timestamps"]) == 0
    out, err = capsys.readouterr()
    assert out.endswith(" line 4\n") and out[:2] == "20" and err == ""


def test_a_program_reads_one_object_a_line(ended: str, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    assert main(["logs", ended, "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in found] == [f"line {number}" for number in range(5)]
    assert {line["stream"] for line in found} == {"stdout", "stderr"}


def test_a_run_without_output_is_not_an_error(ended: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache")}
    history.record(environ, run="d00d", task="ml.quiet", image="x:1", end="done")
    assert main(["logs", "quiet"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "d00d (ml.quiet) has printed nothing" in err
    assert main(["logs", "ed00d"]) == 2
