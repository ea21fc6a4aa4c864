"""Annotation -> Codec: how a value of that type becomes JSON (and files beside it) and a value again.

The same code runs on the caller's side and inside the image, so it needs nothing but the standard library of Python
3.8; numpy, pandas, pydantic and the like are imported only for values of theirs. Both directions check: what crosses
is what the annotation says. Nothing is ever unpickled.
"""

from __future__ import annotations

import sys

from .errors import Problem, name_of
from .files import Files

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` is slow to import: it is loaded for annotations that are no classes
    from typing import Any, Callable, Iterator

    Maker = Callable[[Any], "Codec | None"]

CAN_CROSS = "use builtins, containers, dataclasses, pydantic models, enums, arrays, tables, File or Dir"


class Codec:
    """One type's two directions. Both raise Problem; `encode` gives what `json.dumps` takes."""

    plain = False
    """True where the JSON form is the value itself, so that a list of them needs no walk."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def encode(self, value: Any, files: Files) -> Any:
        raise NotImplementedError

    def decode(self, data: Any, files: Files) -> Any:
        raise NotImplementedError

    def accepts(self, value: Any) -> bool:
        """Is `value` plainly of this type? Decides which part of a union takes it."""
        return isinstance(value, self.kind) if isinstance(self.kind, type) else True

    def parse(self, text: str) -> Any:
        """The value that `text`, typed at a command line, stands for."""
        raise Problem(f"{name_of(self.kind)} cannot be written at a command line")


_FOREIGN = {
    "numpy": "arrays",
    "torch": "arrays",
    "pandas": "tables",
    "polars": "tables",
    "pyarrow": "tables",
}


def codec(annotation: Any) -> Codec:
    """Return the codec of an annotation. Raises Problem if nothing of that type can cross.

    >>> codec(int).encode(3, Files("/nowhere"))
    3
    >>> codec(int).encode("3", Files("/nowhere"))
    Traceback (most recent call last):
    flyte_images_runtime.values.errors.Problem: expected int, got str '3'
    """
    annotation = _bare(annotation)
    # Not kept: `int | str` equals `str | int`, but the places of their parts differ.
    for maker in _makers(annotation):
        made = maker(annotation)
        if made is not None:
            return made
    raise Problem(
        f"{name_of(annotation)} cannot cross into a container and back",
        hint=CAN_CROSS,
    )


def _bare(annotation: Any) -> Any:
    """Without what says nothing about the form: Annotated, Final, NewType, `type X = ...`, TypeVar."""
    if is_class(annotation):
        return annotation
    import typing

    while True:
        origin = typing.get_origin(annotation)
        if hasattr(annotation, "__metadata__"):  # Annotated
            annotation = annotation.__origin__
        elif origin is not None and str(origin) in ("typing.Final", "typing.Required", "typing.NotRequired"):
            annotation = typing.get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):  # NewType
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        elif isinstance(annotation, typing.TypeVar):
            annotation = annotation.__bound__ if annotation.__bound__ is not None else typing.Any
        else:
            return annotation


def _makers(annotation: Any) -> Iterator[Maker]:
    """What may know the annotation, in this order. Imported one by one: a task's start pays for each."""
    package = foreign(origin_of(annotation) or annotation)
    if package == "arrays":
        from .arrays import make as array

        yield array
    elif package == "tables":
        from .tables import make as table

        yield table
    from .scalars import make as scalar

    yield scalar
    from .containers import make as container

    yield container
    from .dynamic import make as untyped

    yield untyped
    from .paths import make as path

    yield path
    from .records import make as record

    yield record


def foreign(kind: Any) -> str | None:
    """Which module of this package handles a class of another project's, by the class's own module."""
    package = str(getattr(kind, "__module__", "")).partition(".")[0]
    return _FOREIGN.get(package)


def is_class(annotation: Any) -> bool:
    """Is it a class as such? `list[int]` says that it is one, and is not.

    >>> is_class(int), is_class(list[int]), is_class(None)
    (True, False, False)
    """
    return issubclass(type(annotation), type)


def origin_of(annotation: Any) -> Any:
    """`typing.get_origin`, which need not be asked about classes."""
    if is_class(annotation):
        return None
    import typing

    return typing.get_origin(annotation)


def is_union(origin: Any) -> bool:
    import types
    import typing

    return origin is typing.Union or (sys.version_info >= (3, 10) and origin is types.UnionType)
