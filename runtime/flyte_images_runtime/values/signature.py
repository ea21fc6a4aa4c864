"""A function's signature -> codecs of its arguments and its result. Errors name the parameter.

Arguments cross by name, without defaults that the call does not override: the other side has these itself.
"""

from __future__ import annotations

from . import introspect
from .base import Codec
from .codec import codec
from .errors import Problem, located
from .files import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    import inspect
    from typing import Any, Callable

_TOO_DEEP = "it holds itself, or is nested too deep"
_TOO_LARGE = "there is not enough memory to make it"


class Signature:
    """The codecs of one function. The annotations are read when the signature is made."""

    def __init__(self, function: Callable[..., Any], hints: dict[str, Any] | None = None) -> None:
        self._function = function
        self._signature: inspect.Signature | None = None
        self._kinds = introspect.parameters(function)
        hints = type_hints(function) if hints is None else hints
        if not introspect.is_plain(function):
            hints = {**_annotations(self.signature), **hints}
        self.codecs: dict[str, Codec] = {}
        for name in self._kinds:
            try:
                self.codecs[name] = _codec_of(name, hints)
            except Problem as problem:
                raise Problem(f"parameter `{name}`: {problem.message}", (), problem.hint) from None
        try:
            self.result = _codec_of("return", hints)
        except Problem as problem:
            raise Problem(f"result: {problem.message}", (), problem.hint) from None

    @property
    def signature(self) -> inspect.Signature:
        """The signature of `inspect`, made at first use: only the caller's side uses it."""
        if self._signature is None:
            import inspect

            self._signature = inspect.signature(self._function)
        return self._signature

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any], files: Files) -> dict[str, Any]:
        """Return the JSON form of a call. Raise TypeError, as any function does, for arguments that do not fit."""
        bound = self.signature.bind(*args, **kwargs)
        return {name: self._each(name, "encode", value, files) for name, value in bound.arguments.items()}

    def decode(self, data: Any, files: Files) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and named arguments of a call that `encode` wrote."""
        if not isinstance(data, dict) or not set(data) <= set(self.codecs):
            unknown = sorted(set(data) - set(self.codecs)) if isinstance(data, dict) else ["(none)"]
            raise Problem(f"the task has no parameter `{unknown[0]}`", hint="the code in the image is another version")
        return self._split({name: self._each(name, "decode", value, files) for name, value in data.items()})

    def _split(self, given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return positional arguments, up to the first omitted one, and the others by name."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        in_order = True
        for name, kind in self._kinds.items():
            if name not in given:
                in_order = False
            elif kind == introspect.REST:
                kwargs.update(given[name])
            elif kind == introspect.NAMED or not in_order:
                kwargs[name] = given[name]
            elif kind == introspect.MANY:
                args += given[name]
            else:
                args.append(given[name])
        return tuple(args), kwargs

    def _each(self, name: str, way: str, value: Any, files: Files) -> Any:
        kind = self._kinds[name]
        convert = getattr(self.codecs[name], way)
        at = name
        try:
            if kind == introspect.MANY:
                items = []
                for number, item in enumerate(value):
                    at = f"{name}[{number}]"
                    items.append(located("", convert, item, files))
                return items if way == "encode" else tuple(items)
            if kind == introspect.REST:
                named = {}
                for at, item in value.items():
                    named[at] = located("", convert, item, files)
                return named
            return located("", convert, value, files)
        except Problem as problem:
            where = problem.inside(at).where
            place = f"parameter `{at}`" if where == at else f"parameter `{at}` at `{where}`"
            raise Problem(f"{place}: {problem.message}", (), problem.hint) from None
        except RecursionError:
            raise Problem(f"parameter `{at}`: {_TOO_DEEP}") from None
        except MemoryError:
            raise Problem(f"parameter `{at}`: {_TOO_LARGE}") from None

    def encode_result(self, value: Any, files: Files) -> Any:
        """Return the JSON form of a result. Raise Problem with the place of a value that does not fit."""
        return self._result("encode", value, files)

    def decode_result(self, data: Any, files: Files) -> Any:
        """Return the result that `encode_result` wrote. Raise Problem with the place of data that do not fit."""
        return self._result("decode", data, files)

    def _result(self, way: str, value: Any, files: Files) -> Any:
        try:
            return located("", getattr(self.result, way), value, files)
        except Problem as problem:
            place = f"result at `{problem.inside('result').where}`" if problem.path else "result"
            raise Problem(f"{place}: {problem.message}", (), problem.hint) from None
        except RecursionError:
            raise Problem(f"result: {_TOO_DEEP}") from None
        except MemoryError:
            if way == "encode":  # the task itself is out of memory: that is how the task ends, not its result
                raise
            raise Problem(f"result: {_TOO_LARGE}") from None


def _annotations(signature: inspect.Signature) -> dict[str, Any]:
    """Return the annotations of a signature that a decorator has made."""
    annotations = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    annotations["return"] = signature.return_annotation
    return {name: annotation for name, annotation in annotations.items() if annotation is not signature.empty}


def _codec_of(name: str, hints: dict[str, Any]) -> Codec:
    """Return the codec of a parameter. Without an annotation, the value's class decides (dynamic.py)."""
    return codec(hints.get(name, object))


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations as types. Raise Problem for a text that names no type."""
    simple = introspect.classes(function)
    if simple is not None:
        return simple
    import typing

    try:
        hints = typing.get_type_hints(function, None, _closure(function))
    except NameError as error:
        raise Problem(
            f"an annotation has a name that is not defined in its module: {error}",
            hint="import it at the top of the file, not below `if TYPE_CHECKING`",
        ) from None
    except TypeError as error:
        raise Problem(f"the annotations cannot be read: {error}") from None
    return hints


def _closure(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the variables of the enclosing function that a function uses, since its annotations may name them."""
    variables = {}
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(function, "__closure__", None) or ()):  # noqa: B905 Python 3.8
        try:
            variables[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return variables
