"""The code object of a function gives the parameters and annotations of `inspect` and `typing`."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

import pytest

from flyte_images_runtime.values import Files, Signature, introspect


def plain(a: int, /, b: str, *more: float, c: bytes = b"", **rest: None) -> Files: ...  # type: ignore[empty-body]
def named(*, a: inspect.Signature, b: typing.Any = None) -> None: ...
def none(): ...  # type: ignore[no-untyped-def]
def later(a: list[int], b: str) -> None: ...
def unknown(a: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821


@functools.wraps(plain)
def wrapped(*args: Any, **kwargs: Any) -> Any: ...


@pytest.mark.parametrize("function", [plain, named, none, later, wrapped, functools.partial(plain, 1)])
def test_the_parameters_are_those_of_inspect(function: Callable[..., Any]) -> None:
    expected = {name: int(parameter.kind) for name, parameter in inspect.signature(function).parameters.items()}
    assert introspect.parameters(function) == expected
    assert list(introspect.parameters(function)) == list(expected)


@pytest.mark.parametrize("function", [plain, named, none])
def test_annotations_that_are_classes_are_found_by_their_names(function: Callable[..., Any]) -> None:
    assert introspect.classes(function) == typing.get_type_hints(function)


@pytest.mark.parametrize("function", [later, unknown, wrapped])
def test_other_annotations_are_left_to_typing(function: Callable[..., Any]) -> None:
    assert introspect.classes(function) is None


def test_a_name_of_the_enclosing_function_is_not_looked_up_in_the_module() -> None:
    class Files(int):
        pass

    def inner(a: Files) -> None:
        print(Files)

    assert introspect.classes(inner) is None


def test_a_call_is_split_as_inspect_does() -> None:
    def work(a: int, b: int = 2, *more: int, c: int = 3, **rest: int) -> None: ...

    signature = Signature(work)
    for args, kwargs in (((1,), {}), ((1, 5, 6), {"c": 1, "z": 2}), ((), {"a": 1, "b": 7}), ((1,), {"z": 1})):
        bound = signature.signature.bind(*args, **kwargs)
        encoded = signature.encode(args, kwargs, Files("/nowhere"))
        assert signature.decode(encoded, Files("/nowhere")) == (bound.args, bound.kwargs)
