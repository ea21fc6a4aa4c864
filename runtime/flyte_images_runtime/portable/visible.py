r"""Text from other sources -> text that is safe on a terminal: characters that command a terminal are escaped.

One function for all texts that people see: lines of tasks, tracebacks, results, logs of builds, errors, names.
"""

from __future__ import annotations

import functools
import re


def visible(text: str) -> str:
    r"""Return `text` with each character that commands a terminal as its escape in Python. Tabs and newlines stay.

    >>> visible("\x1b[31mred\x07\tand\n\u202emore")
    '\\x1b[31mred\\x07\tand\n\\u202emore'
    """
    return _commands().sub(_escaped, text)


@functools.cache  # compiled at the first text: a build that changes nothing shows none
def _commands() -> re.Pattern[str]:
    # Controls but tab and newline, line separators, marks that reverse the direction of text, surrogates.
    return re.compile(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
    )


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
