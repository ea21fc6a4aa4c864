"""A value crosses as its annotation says; a value of another type is a Problem with its place."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import math
import pathlib
import typing
import uuid
from typing import Any, Literal, NamedTuple, NewType, Optional, TypedDict

import pydantic
import pytest

from flyte_images_runtime.values import Files, Problem, Signature, codec


class Colour(enum.Enum):
    RED = 1
    BLUE = (0, 0, 255)


class Shade(str, enum.Enum):
    LIGHT = "light"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: int
    labels: list[str]
    next: Optional[Point] = None
    size: float = dataclasses.field(init=False, default=0.0)


class Pair(NamedTuple):
    left: int
    right: datetime.date


Item = typing.TypeVar("Item")


@dataclasses.dataclass
class Box(typing.Generic[Item]):
    item: Item
    more: list[Item] = dataclasses.field(default_factory=list)


class Settings(TypedDict, total=False):
    rate: float
    name: str


class Model(pydantic.BaseModel):
    when: datetime.datetime
    scores: dict[str, float]


Rows = NewType("Rows", int)
UTC = datetime.timezone.utc  # noqa: UP017

CASES: list[tuple[Any, Any]] = [
    (int, 3),
    (int, -(10**6000)),
    (float, 1.5),
    (float, math.inf),
    (bool, True),
    (str, "ü\ud800\0"),
    (bytes, b""),
    (bytes, b"x" * 100_000),
    (bytearray, bytearray(b"ab")),
    (None, None),
    (complex, 1 + 2j),
    (range, range(1, 9, 2)),
    (Rows, 4),
    (typing.Annotated[int, "note"], 4),
    (list[int], [1, 2]),
    (list, [1, "a", None]),
    (dict[str, list[float]], {"a": [1.0, math.inf]}),
    (dict[int, str], {1: "a"}),
    (dict[tuple[int, str], Colour], {(1, "a"): Colour.RED}),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2)),
    (tuple[()], ()),
    (set[str], {"a"}),
    (frozenset[int], frozenset({1})),
    (collections.deque[int], collections.deque([1])),
    (typing.Sequence[int], [1]),
    (typing.Mapping[str, int], {"a": 1}),
    (Optional[int], None),
    (int | None, 3),
    (Optional[Optional[list[int]]], [1]),
    (int | str, "x"),
    (int | str, 3),
    (bool | int, True),
    (list[int] | dict[str, int], {"a": 1}),
    (datetime.date | datetime.datetime, datetime.datetime(2020, 1, 1)),
    (Literal[1, "1", True], True),
    (Colour, Colour.BLUE),
    (Shade, Shade.LIGHT),
    (Access, Access.READ | Access.WRITE),
    (Point, Point(1, ["a"], Point(2, []))),
    (Pair, Pair(1, datetime.date(2020, 1, 2))),
    (Settings, {}),
    (Settings, {"rate": 0.5}),
    (Model, Model(when=datetime.datetime(2020, 1, 1, tzinfo=UTC), scores={"a": 1.0})),
    (list[Model], [Model(when=datetime.datetime(2020, 1, 1), scores={})]),
    (datetime.datetime, datetime.datetime(2020, 1, 1, 3, 4, 5, 6, tzinfo=UTC)),
    (datetime.time, datetime.time(1, 2)),
    (datetime.timedelta, datetime.timedelta(days=-1, seconds=3, microseconds=7)),
    (decimal.Decimal, decimal.Decimal("1.10")),
    (fractions.Fraction, fractions.Fraction(1, 3)),
    (pathlib.Path, pathlib.Path("/a/b")),
    (uuid.UUID, uuid.UUID(int=5)),
    (Any, {"a": (1, {2, 3}, b"x", datetime.date(2020, 1, 1)), 3: None}),
    (Any, {"$type": "date", "is": 1}),
    (dict, {"score": 0.5, "rows": [1, (2,)]}),
]


def through(annotation: Any, value: Any, directory: pathlib.Path) -> Any:
    """Return a value after its crossing: encoded, JSON, decoded."""
    one = codec(annotation)
    with Files(str(directory)) as files:
        crossing = json.loads(json.dumps(one.encode(value, files)))
        return one.decode(crossing, files)


@pytest.mark.parametrize(("annotation", "value"), CASES, ids=[str(annotation) for annotation, _ in CASES])
def test_a_value_crosses_unchanged(annotation: Any, value: Any, tmp_path: pathlib.Path) -> None:
    found = through(annotation, value, tmp_path)
    assert found == value
    assert type(found) is type(value)


def test_nan_crosses(tmp_path: pathlib.Path) -> None:
    assert math.isnan(through(float, math.nan, tmp_path))


def test_an_int_widens_to_a_float_and_nothing_else_changes_its_type(tmp_path: pathlib.Path) -> None:
    assert through(float, 3, tmp_path) == 3.0
    for annotation, value in ((int, 3.0), (str, 3), (bool, 1), (list[int], (1, 2)), (dict, [1]), (bytes, "a")):
        with pytest.raises(Problem, match="expected"):
            through(annotation, value, tmp_path)


REFUSED: list[tuple[Any, Any, str, str]] = [
    (list[int], [1, "2"], "[1]", "expected int, got str '2'"),
    (dict[str, list[int]], {"a": [1, None]}, "['a'][1]", "expected int, got NoneType None"),
    (Point, Point(1, ["a", 2]), ".labels[1]", "expected str, got int 2"),  # type: ignore[list-item]
    (tuple[int, str], (1,), "", "got 1 values"),
    (Literal["a", "b"], "c", "", "'c' is not one of 'a', 'b'"),
    (Colour, "RED", "", "expected Colour, got str 'RED'"),
    (Settings, {"rat": 1.0}, "", "no key `rat`"),
    (int | None, "x", "", "expected int"),
    (dict, {"a": object}, "['a']", "cannot cross into a container"),
    (datetime.date, datetime.datetime(2020, 1, 1), "", "expected date"),
]


@pytest.mark.parametrize(("annotation", "value", "where", "what"), REFUSED)
def test_a_value_that_does_not_fit_is_a_problem_with_its_place(
    annotation: Any, value: Any, where: str, what: str, tmp_path: pathlib.Path
) -> None:
    with Files(str(tmp_path)) as files, pytest.raises(Problem) as caught:
        codec(annotation).encode(value, files)
    assert caught.value.where == where
    assert what in caught.value.message


@pytest.mark.parametrize(
    ("annotation", "data"),
    [
        (int, "3"),
        (list[int], {"a": 1}),
        (list[int], [1, "a"]),
        (Optional[int], 3),
        (int | str, [5, 1]),
        (int | str, 3),
        (Colour, "GREEN"),
        (Point, {"x": 1, "evil": 2}),
        (Pair, {"left": 1}),
        (bytes, {"file": "../../etc/passwd"}),
        (bytes, {"file": "/etc/passwd"}),
        (datetime.date, "yesterday"),
        (Any, {"$type": "os.system", "is": "x"}),
        (Model, {"when": "never"}),
        (Literal["a"], 7),
    ],
)
def test_data_of_a_container_is_checked_before_objects_are_made(
    annotation: Any, data: Any, tmp_path: pathlib.Path
) -> None:
    with Files(str(tmp_path)) as files, pytest.raises(Problem):
        codec(annotation).decode(data, files)


def test_the_error_names_the_parameter() -> None:
    def train(rows: list[int], *names: str, rate: float = 0.1, **rest: bool) -> dict[str, float]: ...

    signature = Signature(train)
    files = Files("/nowhere")
    for args, kwargs, said in [
        (([1, "x"],), {}, "parameter `rows` at `rows[1]`: expected int"),
        (([], "a", 2), {}, "parameter `names[1]`: expected str"),
        (([],), {"rate": "fast"}, "parameter `rate`: expected float"),
        (([],), {"quiet": 1}, "parameter `quiet`: expected bool"),
    ]:
        with pytest.raises(Problem) as caught:
            signature.encode(args, kwargs, files)
        assert said in str(caught.value)
    with pytest.raises(TypeError, match="rows"):
        signature.encode((), {}, files)
    with pytest.raises(Problem, match=r"result at `result\['a'\]`: expected float"):
        signature.encode_result({"a": "high"}, files)


def test_every_kind_of_parameter_arrives(tmp_path: pathlib.Path) -> None:
    def task(a: int, /, b: str, *more: float, c: bool = False, **rest: list[int]) -> None: ...

    signature = Signature(task)
    with Files(str(tmp_path)) as files:
        data = json.loads(json.dumps(signature.encode((1, "x", 2.0, 3.0), {"c": True, "d": [4]}, files)))
        assert signature.decode(data, files) == ((1, "x", 2.0, 3.0), {"c": True, "d": [4]})


def test_defaults_do_not_cross() -> None:
    def task(a: int, b: Any = object()) -> None: ...  # noqa: B008

    assert Signature(task).encode((1,), {}, Files("/nowhere")) == {"a": 1}


def test_a_type_that_cannot_cross_is_named() -> None:
    def task(a: int, callback: typing.Callable[[], int]) -> None: ...

    with pytest.raises(Problem, match="parameter `callback`: Callable"):
        Signature(task)

    def other(a: int) -> typing.Iterator[int]: ...

    with pytest.raises(Problem, match="result: Iterator"):
        Signature(other)


def test_a_generic_class_is_checked_by_its_arguments() -> None:
    of_points = codec(Box[Point])
    box = Box(Point(1, ["a"]), [Point(2, [])])
    data = json.loads(json.dumps(of_points.encode(box, Files("/nowhere"))))
    assert of_points.decode(data, Files("/nowhere")) == box
    with pytest.raises(Problem, match="expected int, got str 'x'") as caught:
        codec(Box[int]).encode(Box(1, [2, "x"]), Files("/nowhere"))  # type: ignore[list-item]
    assert caught.value.where == ".more[1]"
    assert codec(Box).decode(codec(Box).encode(Box("x"), Files("/nowhere")), Files("/nowhere")) == Box("x")
    assert codec(list[Box[str]]).encode([Box("x")], Files("/nowhere")) == [{"item": "x", "more": []}]


def test_a_value_that_cannot_cross_has_a_hint() -> None:
    with pytest.raises(Problem, match=r"object <object object .* cannot cross") as caught:
        codec(Any).encode([object()], Files("/nowhere"))
    assert "builtins" in str(caught.value.hint)
    with pytest.raises(Problem, match="if the annotation names its class") as caught:
        codec(Any).encode(Point(1, []), Files("/nowhere"))
    assert "`Point`" in str(caught.value.hint)


def test_a_value_that_contains_itself_is_refused_by_name() -> None:
    def task(value: Any) -> Any: ...

    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(Problem, match="parameter `value`: it holds itself"):
        Signature(task).encode((endless,), {}, Files("/nowhere"))
    with pytest.raises(Problem, match="result: it holds itself"):
        Signature(task).encode_result(endless, Files("/nowhere"))
