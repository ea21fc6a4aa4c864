"""The words behind TASK -> the arguments of a call; a result -> text. No engine."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path

import pytest

from flyte_images.cli.load import load
from flyte_images.cli.main import main
from flyte_images.cli.run import as_text, find_task, pairs, task_help
from flyte_images.errors import SpecError

TASKS = """
import flyte_images as flyte
one = flyte.TaskEnvironment(name="one")
two = flyte.TaskEnvironment(name="two")

@one.task
def train(rows: int, rate: float = 0.1, *, fast: bool = False, names: list[str] = []) -> float:
    \"\"\"Train it.\"\"\"
    return rows * rate

@one.task
def total(*numbers: int) -> int:
    return sum(numbers)

@two.task
def total(*numbers: int) -> int:
    return 0
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    name = f"tasks_{tmp_path.name.replace('-', '_')}.py"
    (tmp_path / name).write_text(TASKS)
    return name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--rows", "10"], ((10, 0.1), {"fast": False, "names": []})),
        (["--rows=10", "--rate=2"], ((10, 2.0), {"fast": False, "names": []})),
        (["--rows", "-3", "--fast"], ((-3, 0.1), {"fast": True, "names": []})),
        (["--rows", "1", "--fast", "--no-fast"], ((1, 0.1), {"fast": False, "names": []})),
        (["--rows", "1", "--names", '["a", "b"]'], ((1, 0.1), {"fast": False, "names": ["a", "b"]})),
    ],
)
def test_words_become_typed_arguments(script: str, words: list[str], expected: object) -> None:
    task = find_task(load(script), "train")
    args, kwargs = task.parse(pairs(words, task.parameters()))
    bound = task.signature.signature.bind(*args, **kwargs)
    bound.apply_defaults()
    assert (bound.args, bound.kwargs) == expected


def test_words_alone_are_what_a_star_takes(script: str) -> None:
    task = find_task(load(script), "one.total")
    assert task.parse(pairs(["1", "2", "3"], task.parameters())) == ((1, 2, 3), {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["10"], "`10` stands alone"),
        (["--rows"], "`--rows` has no value"),
        (["--rows", "ten"], "parameter `rows`"),
        (["--rows", "1", "--colour", "red"], "there is no parameter `colour`"),
        ([], "parameter `rows` is missing"),
    ],
)
def test_wrong_arguments_are_wrong_use(
    script: str, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["run", script, "train", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err


def test_an_unknown_or_ambiguous_task_is_named(script: str) -> None:
    loaded = load(script)
    with pytest.raises(SpecError, match="has no task `trian`") as raised:
        find_task(loaded, "trian")
    assert raised.value.hint == "did you mean `train`?"
    with pytest.raises(SpecError, match=r"is the name of 2 tasks: `one\.total`, `two\.total`"):
        find_task(loaded, "total")
    assert find_task(loaded, "two.total").environment.name == "two"


def test_the_help_of_a_task_lists_its_arguments(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", script, "train", "--help"]) == 0
    out = capsys.readouterr().out
    assert out == task_help(script, find_task(load(script), "train")) + "\n"
    assert "  Train it.\n" in out and "--rows   int  required" in out and "--rate   float  default: 0.1" in out


def test_images_of_environments_bear_their_names(script: str) -> None:
    [named] = load(script).named_images()  # both stand on the default image
    assert (named.name, named.known_as) == ("one", ("one", "two"))


@dataclasses.dataclass
class Point:
    x: int
    when: datetime.date


def test_results_without_a_json_form_are_shown_by_their_own_plain_form() -> None:
    value = {"point": Point(1, datetime.date(2026, 1, 2)), "path": Path("/a"), "set": {2, 1}, "text": "ü"}
    assert json.loads(as_text(value)) == {
        "point": {"x": 1, "when": "2026-01-02"},
        "path": "/a",
        "set": [1, 2],
        "text": "ü",
    }
