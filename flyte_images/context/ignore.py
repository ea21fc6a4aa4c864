"""Ignore rules -> the paths of a folder that are excluded, with the semantics of `.dockerignore`. Pure.

A pattern is a path from the folder's root (`a/*.txt`); `**` matches any number of folders; everything in an ignored
folder is ignored. The last matching pattern decides; a pattern that begins with `!` includes paths again.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from flyte_images_layers.record import record

from ..errors import SpecError

DEFAULT_IGNORE: tuple[str, ...] = (
    ".dockerignore",
    "**/__pycache__",
    "**/*.py[co]",
    "**/.git",
    "**/.hg",
    "**/.svn",
    "**/.venv",
    "**/.mypy_cache",
    "**/.pytest_cache",
    "**/.ruff_cache",
    "**/.hypothesis",
    "**/.tox",
    "**/.nox",
    "**/.ipynb_checkpoints",
    "**/.DS_Store",
)
"""Files that tools leave behind. They are excluded from every folder unless a later pattern includes them again."""

_BRACKET = re.compile(r"(\^?)((?:\\.|[^\]\\])+)\]", re.DOTALL)  # after the opening bracket

Matched = tuple[bool, ...]
"""For each rule, whether it matched a folder. The contents of the folder inherit the matches."""


@record
class _Rule:
    """Adjacent patterns of the same sign, as one regular expression."""

    pattern: re.Pattern[str]
    includes: bool


class Ignore:
    """Decide path by path, from the root down.

    >>> rules = Ignore(["*.txt", "!keep.txt"])
    >>> [rules.match(name, ())[0] for name in ("a.txt", "keep.txt", "a.py")]
    [True, False, False]
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        cleaned = [text for text in map(_clean, patterns) if text]
        signed = [(text.startswith("!"), text.removeprefix("!")) for text in cleaned]
        self._rules = tuple(
            _Rule(re.compile("|".join(_expression(text) for _, text in group), re.DOTALL), includes)
            for includes, group in groupby(signed, key=lambda item: item[0])
        )
        self._included = tuple(tuple(text.split("/")) for includes, text in signed if includes)

    def match(self, path: str, parent: Matched) -> tuple[bool, Matched]:
        """Return whether `path` is ignored, and the matches for its contents. `parent`: the matches of its folder."""
        ignored = False
        matched = []
        for number, rule in enumerate(self._rules):
            hit = bool(parent) and parent[number]
            if not hit and rule.includes == ignored:  # otherwise a match changes nothing
                hit = rule.pattern.fullmatch(path) is not None
            if hit:
                ignored = not rule.includes
            matched.append(hit)
        return ignored, tuple(matched)

    def may_include_below(self, path: str) -> bool:
        """Return whether a `!` pattern may include something inside the ignored folder `path`."""
        folders = path.split("/")
        return any(_reaches(pattern, folders) for pattern in self._included)


def parse_ignore(text: str) -> list[str]:
    """Return the patterns of an ignore file: one a line, without comments.

    >>> parse_ignore("# mine\\n/build/\\n\\n!build/keep\\n")
    ['/build/', '!build/keep']
    """
    lines = text.removeprefix("\ufeff").split("\n")
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _clean(pattern: str) -> str:
    text = pattern.strip()
    sign = "!" if text.startswith("!") else ""
    text = text.removeprefix("!").strip()
    if not text:
        if sign:
            raise SpecError("`!` is not an ignore pattern", hint="name a path after it: !keep.txt")
        return ""
    return sign + (posixpath.normpath(text).lstrip("/") or ".")


def _expression(pattern: str) -> str:
    """A pattern as a regular expression for whole paths."""
    literal = pattern.removeprefix("**")
    if literal != pattern and literal and literal[0] != "/" and not set(literal) & set("*?[]\\"):
        return f"(?:.*{re.escape(literal)})"  # `**name` alone means: every path that ends so
    try:
        expression = f"(?:{_translate(pattern)})"
        re.compile(expression)
    except re.error as error:
        raise SpecError(f"`{pattern}` is not an ignore pattern: {error}", hint="write \\[ for a bracket") from None
    return expression


def _translate(pattern: str) -> str:
    out, rest = "", pattern
    while rest:
        if rest.startswith("**"):
            rest = rest[2:].removeprefix("/")
            out += "(?:.*/)?" if rest else ".*"
            continue
        character, rest = rest[0], rest[1:]
        match character:
            case "*":
                out += "[^/]*"
            case "?":
                out += "[^/]"
            case "[":
                match = _BRACKET.match(rest)
                if match is None:
                    raise re.error("a bracket is not closed")
                out += f"[{match[1]}{_class(match[2])}]"
                rest = rest[match.end() :]
            case "\\":
                out += re.escape(rest[:1] or "\\")
                rest = rest[1:]
            case _:
                out += re.escape(character)
    return out


def _class(inside: str) -> str:
    """Return the inside of brackets as Python writes it: characters and ranges, everything else escaped."""
    return re.sub(r"\\?(.)", lambda match: "-" if match[0] == "-" else re.escape(match[1]), inside, flags=re.DOTALL)


def _reaches(pattern: Sequence[str], folders: Sequence[str]) -> bool:
    for part, folder in zip(pattern, folders, strict=False):
        if "**" in part:
            return True
        if re.fullmatch(_expression(part), folder, re.DOTALL) is None:
            return False
    return True
