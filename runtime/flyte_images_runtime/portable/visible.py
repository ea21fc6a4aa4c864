r"""Text from elsewhere -> text that is safe to write to a terminal: what a terminal would obey is spelled out.

One function for all that a person sees: what tasks print, tracebacks, results, logs of builds, errors, names.
"""

from __future__ import annotations

import re

# Controls but tab and newline, line separators, marks that turn the direction of a text around, halves of characters.
_OBEYED = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Return `text` with each character that a terminal would obey as its escape in Python. Tabs and newlines stay.

    >>> visible("\x1b[31mred\x07\tand\n\u202emore")
    '\\x1b[31mred\\x07\tand\n\\u202emore'
    """
    return _OBEYED.sub(_spelled, text)


def _spelled(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
