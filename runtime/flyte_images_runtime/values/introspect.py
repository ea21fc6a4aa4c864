"""The parameters and annotations of a plain function, read from its code object.

`inspect` and `typing` are used for all other callables only, since a task's start pays for their import.
"""

from __future__ import annotations

from .base import is_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POSITIONAL_ONLY, EITHER, MANY, NAMED, REST = range(5)
"""The kinds of parameters, with the numbers of `inspect`."""

_VARARGS, _VARKEYWORDS = 0x04, 0x08  # co_flags
_FUNCTION = type(is_class)


def parameters(function: Any) -> dict[str, int]:
    """Return the kind of each parameter, in order.

    >>> def train(a, /, b, *more, c=1, **rest): ...
    >>> parameters(train)
    {'a': 0, 'b': 1, 'more': 2, 'c': 3, 'rest': 4}
    """
    if not is_plain(function):
        import inspect

        return {name: int(parameter.kind) for name, parameter in inspect.signature(function).parameters.items()}
    code = function.__code__
    names, first_named = code.co_varnames, code.co_argcount
    end = first_named + code.co_kwonlyargcount
    positional = enumerate(names[:first_named])
    kinds = {name: POSITIONAL_ONLY if at < code.co_posonlyargcount else EITHER for at, name in positional}
    if code.co_flags & _VARARGS:
        kinds[names[end]] = MANY
    kinds.update(dict.fromkeys(names[first_named:end], NAMED))
    if code.co_flags & _VARKEYWORDS:
        kinds[names[end + bool(code.co_flags & _VARARGS)]] = REST
    return kinds


def classes(function: Any) -> dict[str, Any] | None:
    """Return the annotations if each is a class, None, or the name of a class in the function's module; else None.

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
        annotations = function.__annotations__
    except NameError:  # Python 3.14 evaluates the annotations here
        return None
    types = {}
    for name, annotation in annotations.items():
        if isinstance(annotation, str):
            annotation = _named(annotation, function)
        elif annotation is None:
            annotation = type(None)
        if not is_class(annotation):
            return None
        types[name] = annotation
    return types


def _named(text: str, function: Any) -> Any:
    """Return the object of a dotted name; None where `typing` has to find it."""
    if text == "None":
        return type(None)
    first, *steps = text.split(".")
    if not first.isidentifier() or first in function.__code__.co_freevars:
        return None
    target = function.__globals__.get(first, _NOTHING)
    if target is _NOTHING:
        import builtins

        target = getattr(builtins, first, None)
    for step in steps:
        target = getattr(target, step, None)
    return target


_NOTHING = object()


def is_plain(function: Any) -> bool:
    """Return whether `def` made the function, without a decorator that gives it another function's signature."""
    decorated = hasattr(function, "__wrapped__") or hasattr(function, "__signature__")
    return type(function) is _FUNCTION and not decorated
