"""/etc/subuid and /etc/subgid -> the map from the users of a container to those of this machine. Pure.

The task's user is the caller, so that the task can write its results and read the caller's files. All other users
inside, root too, are ids that no account has.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """`count` ids of the machine, from `start` on."""

    start: int
    count: int


def find_span(text: str, *, name: str, number: int) -> Span | None:
    """Return the longest span of the user, by name or by number. None if the user has none.

    >>> find_span("# who:from:how many\\nme:100000:65536\\n1000:500:1\\nyou:9:9", name="me", number=1000)
    Span(start=100000, count=65536)
    >>> find_span("you:1:9", name="me", number=1000) is None
    True
    """
    found = [_span(line) for line in text.splitlines() if line.partition(":")[0] in (name, str(number))]
    return max((span for span in found if span is not None), key=lambda span: span.count, default=None)


def _span(line: str) -> Span | None:
    parts = line.split(":")
    if len(parts) != 3 or not parts[1].isdigit() or not parts[2].isdigit():
        return None
    return Span(int(parts[1]), int(parts[2]))


def id_map(inside: int, caller: int, span: Span) -> tuple[str, ...]:
    """Return the arguments of `newuidmap PID`: the user `inside` the container is `caller` on the machine.

    >>> " ".join(id_map(1000, 1001, Span(100000, 65536)))
    '0 100000 1000 1000 1001 1 1001 101000 64536'
    >>> " ".join(id_map(0, 1001, Span(100000, 65536)))
    '0 1001 1 1 100000 65536'
    """
    below = min(inside, span.count)
    rest = span.count - below
    rows = [(0, span.start, below), (inside, caller, 1), (inside + 1, span.start + below, rest)]
    return tuple(str(number) for row in rows if row[2] > 0 for number in row)
