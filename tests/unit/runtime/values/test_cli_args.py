"""Texts of a command line become the arguments of a call; an error names the parameter."""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Optional

import pytest

from flyte_images_runtime.values import Problem, Signature
from flyte_images_runtime.values.cli_args import arguments, parameters


class Mode(enum.Enum):
    FAST = "fast"


@dataclass
class Config:
    depth: int
    rate: float = 0.1


def task(
    rows: int,
    rate: float = 0.5,
    *,
    name: str = "a",
    fast: bool = False,
    tags: list[str] = [],  # noqa: B006
    weights: Optional[dict[str, float]] = None,
    mode: Mode = Mode.FAST,
    level: Literal["low", "high"] = "low",
    day: datetime.date = datetime.date(2020, 1, 1),
    wait: datetime.timedelta = datetime.timedelta(0),
    where: Path = Path("/"),
    config: Config | None = None,
    either: int | str = 0,
    anything: Any = None,
) -> None: ...


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rows", "1_000", 1000),
        ("rows", "-3", -3),
        ("rows", "0x10", None),
        ("rate", "1e-3", 0.001),
        ("name", "", ""),
        ("fast", "true", True),
        ("fast", "no", False),
        ("tags", '["a", "b"]', ["a", "b"]),
        ("weights", '{"a": 1}', {"a": 1.0}),
        ("weights", "none", None),
        ("mode", "FAST", Mode.FAST),
        ("mode", "fast", Mode.FAST),
        ("level", "high", "high"),
        ("day", "2024-02-29", datetime.date(2024, 2, 29)),
        ("wait", "1.5h", datetime.timedelta(minutes=90)),
        ("wait", "90", datetime.timedelta(seconds=90)),
        ("where", "/a/b", Path("/a/b")),
        ("config", '{"depth": 3}', Config(3)),
        ("either", "7", 7),
        ("either", "x", "x"),
        ("anything", '{"a": [1]}', {"a": [1]}),
        ("anything", "plain", "plain"),
    ],
)
def test_texts_become_values(name: str, text: str, value: Any) -> None:
    given = {"rows": "1", name: text}
    if value is None and name == "rows":
        with pytest.raises(Problem, match="parameter `rows`"):
            arguments(Signature(task), given)
        return
    args, kwargs = arguments(Signature(task), given)
    bound = Signature(task).signature.bind(*args, **kwargs).arguments
    assert bound[name] == value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "parameter `rows` is missing"),
        ({"rows": "many"}, "parameter `rows`: 'many' is not an int"),
        ({"rows": "1", "rwos": "1"}, "`rwos` is not a parameter of the task"),
        ({"rows": "1", "tags": "a"}, "parameter `tags`: 'a' is not JSON"),
        ({"rows": "1", "tags": "[1]"}, None),
        ({"rows": "1", "weights": '{"a": "x"}'}, "parameter `weights['a']`: 'x' is not a float"),
        ({"rows": "1", "level": "mid"}, "parameter `level`: 'mid' is not one of low, high"),
        ({"rows": "1", "config": '{"dept": 1}'}, "has no field `dept`"),
        ({"rows": "1", "config": "{}"}, "parameter `config`: Config refuses the values"),
    ],
)
def test_a_wrong_text_is_a_problem_with_the_parameter(given: dict[str, str], message: str | None) -> None:
    if message is None:
        assert arguments(Signature(task), given)[1]["tags"] == ["1"]
        return
    with pytest.raises(Problem) as caught:
        arguments(Signature(task), given)
    assert message in str(caught.value)


def test_parameters_have_what_a_help_page_shows() -> None:
    found = {parameter.name: parameter for parameter in parameters(Signature(task))}
    assert (found["rows"].required, found["rows"].type, found["rows"].default) == (True, "int", None)
    assert found["fast"].switch
    assert found["mode"].choices == ("FAST",)
    assert found["level"].choices == ("low", "high")


def test_several_texts_for_many_values() -> None:
    def many(*names: str, **numbers: int) -> None: ...

    assert arguments(Signature(many), {"names": ["a", "b"], "x": "1"}) == (("a", "b"), {"x": 1})
