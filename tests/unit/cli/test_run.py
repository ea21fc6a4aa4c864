"""Words after TASK -> arguments of a call; a result -> text. No engine."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from flyte_images.cli.load import load
from flyte_images.cli.main import main
from flyte_images.cli.render_result import as_text
from flyte_images.cli.run import find_task
from flyte_images.cli.task_argv import pairs
from flyte_images.errors import SpecError

run_module = importlib.import_module("flyte_images.cli.run")

TASKS = """
import flyte_images as flyte
one = flyte.TaskEnvironment(name="one")
two = flyte.TaskEnvironment(name="two")

@one.task
def train(rows: int, rate: float = 0.1, *, fast: bool = False, names: list[str] = []) -> float:
    \"\"\"Train it.\"\"\"
    return rows * rate

@one.task
def clash(json: bool = False, timeout: int = 3) -> int:
    return timeout

@one.task
def anything(**named: str) -> int:
    return len(named)

@one.task
def words(*texts: str) -> int:
    return len(texts)

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


def test_words_without_a_name_are_values_of_star_args(script: str) -> None:
    task = find_task(load(script), "one.total")
    assert task.parse(pairs(["1", "2", "3"], task.parameters())) == ((1, 2, 3), {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["10"], "`10` has no parameter name"),
        (["--rows"], "`--rows` has no value"),
        (["--rows", "ten"], "parameter `rows`"),
        (["--rows", "1", "--colour", "red"], "the task has no parameter `colour`"),
        (["--rows", "1", "--tiemout", "3"], "did you mean `--timeout`?"),
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


def test_the_help_of_a_task_shows_its_arguments_and_the_options(
    script: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", script, "train", "--help"]) == 0
    out = capsys.readouterr().out
    assert "  Train it.\n" in out and "--rows   int  required" in out and "--rate   float  default: 0.1" in out
    assert "Options of flyte-images run (before or after train)" in out
    assert "docker" in out and "podman" in out and "--timeout TIME" in out
    assert main(["run", script, "clash", "-h"]) == 0
    out = capsys.readouterr().out
    assert "Options of flyte-images run (--json, --timeout only before clash)" in out
    assert "No arguments." not in out


def test_a_task_must_be_named(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", script]) == 2
    assert "which task" in (err := capsys.readouterr().err) and "`train`" in err


@pytest.fixture
def performed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object, object, dict[str, object]]]:
    """The arguments and options of the runs; nothing is run."""
    told: list[tuple[str, object, object, dict[str, object]]] = []

    def perform(activity: object, task: Any, args: object, kwargs: object, **options: object) -> None:
        told.append((task.name, args, kwargs, {**options}))

    monkeypatch.setattr(run_module, "perform", perform)
    return told


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "--timeout", "1m30s", "--env", "A=1", "{}", "train", "--rows", "3"],
        ["{}", "--json", "--timeout=90", "--env=A=1", "train", "--rows", "3"],
        ["{}", "train", "--rows", "3", "--json", "--timeout", "90", "--env", "A=1"],
        ["--timeout", "5", "{}", "train", "--json", "--timeout", "90", "--rows=3", "--env", "A=1"],
    ],
)
def test_options_go_before_or_after_the_task(script: str, performed: Any, words: list[str]) -> None:
    assert main(["run", *(word.format(script) for word in words)]) == 0
    [(name, args, _, options)] = performed
    assert (name, args[0]) == ("one.train", 3)
    assert (options["as_json"], options["timeout"], options["env"]) == (True, 90.0, (("A", "1"),))


def test_after_the_task_a_name_of_a_parameter_is_an_argument(script: str, performed: Any) -> None:
    assert main(["run", "--timeout", "5", script, "clash", "--json", "--timeout", "7", "--progress", "quiet"]) == 0
    [(_, args, kwargs, options)] = performed
    assert (args, kwargs) == ((True, 7), {})
    assert (options["as_json"], options["timeout"], options["progress"]) == (False, 5.0, "quiet")


def test_a_task_with_kwargs_takes_every_name(script: str, performed: Any) -> None:
    assert main(["run", "--json", script, "anything", "--env", "x", "--json", "y"]) == 0
    [(_, args, kwargs, options)] = performed
    assert (args, kwargs, options["env"]) == ((), {"env": "x", "json": "y"}, ())


def test_after_two_dashes_all_words_are_values(script: str, performed: Any) -> None:
    assert main(["run", script, "words", "a", "--json", "--", "--json", "--", "-h"]) == 0
    [(_, args, _, options)] = performed
    assert (args, options["as_json"]) == (("a", "--json", "--", "-h"), True)


def test_variables_without_a_value_come_from_the_caller_as_in_docker(
    script: str, performed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYTE_TEST_HERE", "mine")
    monkeypatch.delenv("FLYTE_TEST_GONE", raising=False)
    env = ["--env", "FLYTE_TEST_HERE", "--env", "FLYTE_TEST_GONE", "--env", "A=b=c", "--env", "EMPTY="]
    assert main(["run", *env, script, "train", "--rows", "1"]) == 0
    assert performed[0][3]["env"] == (("FLYTE_TEST_HERE", "mine"), ("A", "b=c"), ("EMPTY", ""))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--timeout", "soon"], "`soon` is not a time"),
        (["--timeout", "-3"], "`-3` is not a time"),
        (["--env", "=x"], "`=x` has no name"),
        (["--engine", "dokcer"], "`dokcer` is not an engine"),
        (["--progress", "loud"], "loud"),
    ],
)
def test_wrong_options_before_or_after_the_task_are_wrong_use(
    script: str, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    for line in ([*words, script, "train", "--rows", "1"], [script, "train", "--rows", "1", *words]):
        assert main(["run", *line]) == 2
        out, err = capsys.readouterr()
        assert out == "" and message in err


def test_images_of_environments_have_their_names(script: str) -> None:
    [named] = load(script).named_images()  # both stand on the default image
    assert (named.name, named.known_as) == ("one", ("one", "two"))


@dataclasses.dataclass
class Point:
    x: int
    when: datetime.date


def test_results_without_a_json_form_are_shown_in_their_plain_form() -> None:
    value = {"point": Point(1, datetime.date(2026, 1, 2)), "path": Path("/a"), "set": {2, 1}, "text": "ü"}
    assert json.loads(as_text(value)) == {
        "point": {"x": 1, "when": "2026-01-02"},
        "path": "/a",
        "set": [1, 2],
        "text": "ü",
    }
