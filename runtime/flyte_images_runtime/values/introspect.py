"""A plain function's parameters and annotations, read from the function itself: quicker than `inspect` and `typing`,
which are asked about all others. A task's start pays for what it imports.
"""

from __future__ import annotations

from .base import is_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POSITIONAL_ONLY, EITHER, MANY, NAMED, REST = range(5)
"""The kinds of parameters, with the numbers that `inspect` gives them."""

_VARARGS, _VARKEYWORDS = 0x04, 0x08  # co_flags
_FUNCTION = type(is_class)


def parameters(function: Any) -> dict[str, int]:
    """Each parameter's kind, in their order.

    >>> def train(a, /, b, *more, c=1, **rest): ...
    >>> parameters(train)
    {'a': 0, 'b': 1, 'more': 2, 'c': 3, 'rest': 4}
    """
    if not is_plain(function):
        import inspect

        return {name: int(one.kind) for name, one in inspect.signature(function).parameters.items()}
    code = function.__code__
    names, some = code.co_varnames, code.co_argcount
    named = some + code.co_kwonlyargcount
    found = {name: POSITIONAL_ONLY if at < code.co_posonlyargcount else EITHER for at, name in enumerate(names[:some])}
    if code.co_flags & _VARARGS:
        found[names[named]] = MANY
    found.update(dict.fromkeys(names[some:named], NAMED))
    if code.co_flags & _VARKEYWORDS:
        found[names[named + bool(code.co_flags & _VARARGS)]] = REST
    return found


def classes(function: Any) -> dict[str, Any] | None:
    """The annotations, if each of them is a class, None, or the name of one in the function's module. Else None.

    >>> def train(rows: int, name: str) -> None: ...
    >>> classes(train)
    {'rows': <class 'int'>, 'name': <class 'str'>, 'return': <class 'NoneType'>}
    >>> def many(rows: list[int]) -> None: ...
    >>> classes(many) is None
    True
    """
    if not is_plain(function):
        return None
    try:
        given = function.__annotations__
    except NameError:  # Python 3.14 looks at them only now
        return None
    found = {}
    for name, annotation in given.items():
        if isinstance(annotation, str):
            annotation = _named(annotation, function)
        elif annotation is None:
            annotation = type(None)
        if not is_class(annotation):
            return None
        found[name] = annotation
    return found


def _named(text: str, function: Any) -> Any:
    """What a name, or names with dots between them, stand for; None if that is to be found out by others."""
    if text == "None":
        return type(None)
    first, *steps = text.split(".")
    if not first.isidentifier() or first in function.__code__.co_freevars:
        return None
    found = function.__globals__.get(first, _NOTHING)
    if found is _NOTHING:
        import builtins

        found = getattr(builtins, first, None)
    for step in steps:
        found = getattr(found, step, None)
    return found


_NOTHING = object()


def is_plain(function: Any) -> bool:
    """Is it what `def` makes, and nothing that pretends to be another function?"""
    pretends = hasattr(function, "__wrapped__") or hasattr(function, "__signature__")
    return type(function) is _FUNCTION and not pretends
