"""Problem: a value that does not fit, and where in the parameter or result it is."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Problem(Exception):
    """`Problem("expected int, got str", ["rows", "[2]"])` reads "expected int, got str at `rows[2]`"."""

    def __init__(self, message: str, path: tuple[str, ...] = (), hint: str | None = None) -> None:
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


def shown(value: Any, width: int = 60) -> str:
    """`value` for a message, never longer than a line.

    >>> shown("a" * 100, 20)
    "'aaaaaaaaaaaaaaa ..."
    """
    try:
        text = repr(value)
    except Exception as error:  # a user's own __repr__ must not hide the problem
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 4] + " ..."


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
