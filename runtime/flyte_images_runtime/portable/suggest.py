"""A misspelled word -> a question that names the closest known word."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return the question that names the closest of `known`, or None if nothing is close.

    >>> did_you_mean("memry", ["cpu", "memory"])
    'did you mean `memory`?'
    """
    import difflib  # loaded where something is wrong

    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean `{close[0]}`?" if close else None
