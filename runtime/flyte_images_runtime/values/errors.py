"""Problem: an error about a value that does not fit, with the value's place in the parameter or result."""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_LONGEST = 1000  # characters of a message, which may quote a container's value
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Problem(Exception):
    """`Problem("expected int, got str", ["rows", "[2]"])` reads "expected int, got str at `rows[2]`"."""

    def __init__(self, message: str, path: tuple[str, ...] = (), hint: str | None = None) -> None:
        message = message if len(message) <= _LONGEST else message[:_LONGEST] + " ..."
        super().__init__(message)
        self.message = message
        self.path = path
        self.hint = hint

    def inside(self, step: str) -> Problem:
        """Return the problem with `step` before its path, for the value that contains this one."""
        return Problem(self.message, (step, *self.path), self.hint)

    @property
    def where(self) -> str:
        """The path as Python would write it: `rows[2].name`."""
        return "".join(self.path)


def located(step: str | int, convert: Callable[..., Any], value: Any, *more: Any) -> Any:
    """Return `convert(value, *more)`. Raise every error of `convert` as a Problem at `step`.

    A number as `step` is a position in a sequence; an empty text adds nothing to the path. The errors for a full disk
    and for a value that is nested too deep or too large are raised unchanged, since they concern the whole value.

    >>> located(2, int, "x")
    Traceback (most recent call last):
    flyte_images_runtime.values.errors.Problem: ValueError: invalid literal for int() with base 10: 'x'
    """
    try:
        return convert(value, *more)
    except Problem as problem:
        raise (problem if step == "" else problem.inside(_path_step(step))) from None
    except (RecursionError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise
        message = " ".join(f"{type(error).__name__}: {error}".split())
        raise Problem(message[:300], () if step == "" else (_path_step(step),)) from None


def _path_step(step: str | int) -> str:
    return f"[{step}]" if isinstance(step, int) else step


def shown(value: Any, width: int = 60) -> str:
    """Return `value` for a message: at most `width` characters, on one line.

    >>> shown("a" * 100, 20)
    "'aaaaaaaaaaaaaaa ..."
    """
    try:
        text = _short_repr(value, width)
    except Exception as error:  # an error in a user's __repr__ must not hide the problem
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 4] + " ..."


def _short_repr(value: Any, width: int, depth: int = 5) -> str:
    """Return at least the first `width` characters of a value's `repr`. The value may contain millions of others."""
    kind = type(value)
    if kind in (str, bytes, bytearray):
        return repr(value[: width + 1])
    if kind not in (list, dict) or not value:
        return repr(value)
    text = ""
    for item in value.items() if kind is dict else value:
        if len(text) > width or depth == 0:
            break
        parts = item if kind is dict else (item,)
        left = width - len(text)
        text += (", " if text else "") + ": ".join(_short_repr(part, left, depth - 1) for part in parts)
    return "{%s}" % text if kind is dict else "[%s]" % text


def name_of(kind: Any) -> str:
    """Return the name of a type for messages.

    >>> from typing import Optional, List
    >>> name_of(int), name_of(Optional[int]), name_of(List[str]), name_of(None)
    ('int', 'Optional[int]', 'List[str]', 'None')
    """
    if kind is None or kind is type(None):
        return "None"
    if isinstance(kind, type) and not getattr(kind, "__args__", None):
        return kind.__qualname__
    return str(kind).replace("typing.", "").replace("typing_extensions.", "")


def expected(kind: Any, value: Any) -> Problem:
    """Return the problem that `value` is not a `kind`."""
    return Problem(f"expected {name_of(kind)}, got {type(value).__name__} {shown(value)}")
