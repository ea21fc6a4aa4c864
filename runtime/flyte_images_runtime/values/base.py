"""Codec, the base class of all codecs, and what the modules of codecs share: questions about annotations.

`make(annotation, codec_of)` in each of these modules returns the codec of an annotation, or None if the annotation is
not one of the module's. `codec_of` returns the codec of any other annotation (codec.py), for containers of values.
"""

from __future__ import annotations

import sys

from .errors import Problem, name_of
from .files import Files

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` is slow to import: it is loaded for annotations that are not classes
    from typing import Any, Callable

    CodecOf = Callable[[Any], "Codec"]
    Make = Callable[[Any, CodecOf], "Codec | None"]

CAN_CROSS = "use builtins, containers, dataclasses, pydantic models, enums, arrays, tables, File or Dir"


class Codec:
    """Both directions of one type. Both raise Problem; `encode` returns a value that `json.dumps` takes."""

    plain = False
    """True where the JSON form is the value itself, so that a list of such values needs no walk."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def encode(self, value: Any, files: Files) -> Any:
        raise NotImplementedError

    def decode(self, data: Any, files: Files) -> Any:
        raise NotImplementedError

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is plainly of this type. Decides which part of a union takes the value."""
        return isinstance(value, self.kind) if isinstance(self.kind, type) else True

    def parse(self, text: str) -> Any:
        """Return the value of `text`, as a user types it at a command line."""
        raise Problem(f"{name_of(self.kind)} cannot be written at a command line")


_FOREIGN = {
    "numpy": "arrays",
    "torch": "arrays",
    "pandas": "tables",
    "polars": "tables",
    "pyarrow": "tables",
}


def foreign(kind: Any) -> str | None:
    """Return which module of this package handles a class of another project; None for all other classes."""
    package = str(getattr(kind, "__module__", "")).partition(".")[0]
    return _FOREIGN.get(package)


def is_class(annotation: Any) -> bool:
    """Return whether an annotation is a class as such. `isinstance(list[int], type)` is true in some Pythons.

    >>> is_class(int), is_class(list[int]), is_class(None)
    (True, False, False)
    """
    return issubclass(type(annotation), type)


def origin_of(annotation: Any) -> Any:
    """Return `typing.get_origin(annotation)`, without an import of `typing` for classes."""
    if is_class(annotation):
        return None
    import typing

    return typing.get_origin(annotation)


def is_union(origin: Any) -> bool:
    """Return whether an annotation with this origin is a union: `Union[X, Y]`, `Optional[X]` or `X | Y`."""
    import types
    import typing

    return origin is typing.Union or (sys.version_info >= (3, 10) and origin is types.UnionType)
