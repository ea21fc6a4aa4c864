"""Ignore rules -> which paths of a folder are left out, as Docker decides it for a `.dockerignore`. Pure.

A pattern stands for a path from the folder's root (`a/*.txt`); `**` for any number of folders; what lies in an ignored
folder is ignored. The last pattern that matches counts, and one that begins with `!` takes paths back in.
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
"""What is left out of every folder unless a later pattern takes it back in: what tools leave behind, nothing else."""

_BRACKET = re.compile(r"(\^?)((?:\\.|[^\]\\])+)\]", re.DOTALL)  # behind the opening one

Matched = tuple[bool, ...]
"""What became of a folder: for each rule whether it matched. Its contents inherit that."""


@record
class _Rule:
    """Neighbouring patterns of the same sign, as one expression."""

    pattern: re.Pattern[str]
    takes_back: bool


class Ignore:
    """Decides path by path, from the root down.

    >>> rules = Ignore(["*.txt", "!keep.txt"])
    >>> [rules.match(name, ())[0] for name in ("a.txt", "keep.txt", "a.py")]
    [True, False, False]
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        cleaned = [text for text in map(_clean, patterns) if text]
        signed = [(text.startswith("!"), text.removeprefix("!")) for text in cleaned]
        self._rules = tuple(
            _Rule(re.compile("|".join(_expression(text) for _, text in group), re.DOTALL), takes_back)
            for takes_back, group in groupby(signed, key=lambda item: item[0])
        )
        self._back = tuple(tuple(text.split("/")) for takes_back, text in signed if takes_back)

    def match(self, path: str, parent: Matched) -> tuple[bool, Matched]:
        """Whether `path` is ignored, and what its contents inherit; `parent` is what it inherits itself."""
        ignored = False
        matched = []
        for number, rule in enumerate(self._rules):
            hit = bool(parent) and parent[number]
            if not hit and rule.takes_back == ignored:  # else it could not change anything
                hit = rule.pattern.fullmatch(path) is not None
            if hit:
                ignored = not rule.takes_back
            matched.append(hit)
        return ignored, tuple(matched)

    def may_take_back_below(self, path: str) -> bool:
        """Whether an ignored folder has to be entered because a `!` pattern may name something in it."""
        folders = path.split("/")
        return any(_reaches(pattern, folders) for pattern in self._back)


def parse_ignore(text: str) -> list[str]:
    """The patterns of an ignore file: a line each, without comments.

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
            raise SpecError("`!` is not an ignore pattern", hint="name what it is to take back in: !keep.txt")
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
                found = _BRACKET.match(rest)
                if found is None:
                    raise re.error("a bracket that does not end")
                out += f"[{found[1]}{_class(found[2])}]"
                rest = rest[found.end() :]
            case "\\":
                out += re.escape(rest[:1] or "\\")
                rest = rest[1:]
            case _:
                out += re.escape(character)
    return out


def _class(inside: str) -> str:
    """The inside of brackets: characters and ranges, and nothing that Python would see in it beside."""
    return re.sub(r"\\?(.)", lambda found: "-" if found[0] == "-" else re.escape(found[1]), inside, flags=re.DOTALL)


def _reaches(pattern: Sequence[str], folders: Sequence[str]) -> bool:
    for part, folder in zip(pattern, folders, strict=False):
        if "**" in part:
            return True
        if re.fullmatch(_expression(part), folder, re.DOTALL) is None:
            return False
    return True
