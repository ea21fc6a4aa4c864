"""Annotation -> Codec: how a value of that type becomes JSON (and files beside it) and a value again.

The same code runs on the caller's side and inside the image, so it needs only the standard library of Python 3.8;
numpy, pandas, pydantic and the like are imported only for their own values. Both directions check that the value is of
the annotated type. No value is ever unpickled.
"""

from __future__ import annotations

from .base import CAN_CROSS, Codec, foreign, is_class, origin_of
from .errors import Problem, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

    from .base import Make


def codec(annotation: Any) -> Codec:
    """Return the codec of an annotation. Raise Problem if values of that type cannot cross.

    >>> codec(int).encode(3, None)
    3
    >>> codec(int).encode("3", None)
    Traceback (most recent call last):
    flyte_images_runtime.values.errors.Problem: expected int, got str '3'
    """
    annotation = _bare(annotation)
    # Not cached by annotation: `int | str` equals `str | int`, but the positions of their parts differ.
    for make in _makers(annotation):
        found = make(annotation, codec)
        if found is not None:
            return found
    raise Problem(
        f"{name_of(annotation)} cannot cross into a container and back",
        hint=CAN_CROSS,
    )


def _bare(annotation: Any) -> Any:
    """Return the annotation without wrappers: Annotated, Final, NewType, `type X = ...`, TypeVar."""
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


def _makers(annotation: Any) -> Iterator[Make]:
    """Yield the functions that may make the codec, in this order; imported one by one to keep a task's start short."""
    package = foreign(origin_of(annotation) or annotation)
    if package == "arrays":
        from .arrays import make as make_arrays

        yield make_arrays
    elif package == "tables":
        from .tables import make as make_tables

        yield make_tables
    from .scalars import make as make_scalars

    yield make_scalars
    from .containers import make as make_containers

    yield make_containers
    from .dynamic import make as make_dynamic

    yield make_dynamic
    from .paths import make as make_paths

    yield make_paths
    from .records import make as make_records

    yield make_records
