"""A misspelt word -> a hint."""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, words: Iterable[str]) -> str | None:
    """A hint, if one of `words` is near.

    >>> closest("biuld", ["build", "run"])
    'did you mean `build`?'
    """
    import difflib

    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f"did you mean `{found[0]}`?" if found else None
