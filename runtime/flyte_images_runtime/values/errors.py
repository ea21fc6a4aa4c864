"""Problem: a value that does not fit, and where in the parameter or result it is."""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_LONGEST = 1000  # letters of a message: what it quotes may have come from a container
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
        """The same problem, seen from one level further out."""
        return Problem(self.message, (step, *self.path), self.hint)

    @property
    def where(self) -> str:
        """The path as Python would write it: `rows[2].name`."""
        return "".join(self.path)


def located(step: str | int, convert: Callable[..., Any], value: Any, *more: Any) -> Any:
    """Return `convert(value, *more)`. What it raises is a Problem at `step`, whatever the value made it raise.

    A number as `step` is a place in a sequence; an empty text adds nothing to the path. A full disk and a value that is
    nested too deep or too large stay what they are: they are about the whole of it.

    >>> located(2, int, "x")
    Traceback (most recent call last):
    flyte_images_runtime.values.errors.Problem: ValueError: invalid literal for int() with base 10: 'x'
    """
    try:
        return convert(value, *more)
    except Problem as problem:
        raise (problem if step == "" else problem.inside(_written(step))) from None
    except (RecursionError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise Problem(said[:300], () if step == "" else (_written(step),)) from None


def _written(step: str | int) -> str:
    return f"[{step}]" if isinstance(step, int) else step


def shown(value: Any, width: int = 60) -> str:
    """`value` for a message, never longer than a line.

    >>> shown("a" * 100, 20)
    "'aaaaaaaaaaaaaaa ..."
    """
    try:
        text = _begin(value, width)
    except Exception as error:  # a user's own __repr__ must not hide the problem
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 4] + " ..."


def _begin(value: Any, room: int, depth: int = 5) -> str:
    """The `repr` of a value, or at least its first `room` letters: it may hold millions of others."""
    kind = type(value)
    if kind in (str, bytes, bytearray):
        return repr(value[: room + 1])
    if kind not in (list, dict) or not value:
        return repr(value)
    text = ""
    for item in value.items() if kind is dict else value:
        if len(text) > room or depth == 0:
            break
        both = item if kind is dict else (item,)
        left = room - len(text)
        text += (", " if text else "") + ": ".join(_begin(one, left, depth - 1) for one in both)
    return "{%s}" % text if kind is dict else "[%s]" % text


def name_of(kind: Any) -> str:
    """How a type is called in a message.

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
    """The problem that `value` is no `kind`."""
    return Problem(f"expected {name_of(kind)}, got {type(value).__name__} {shown(value)}")
