"""Ignore rules have the semantics of Docker."""

from __future__ import annotations

import pytest

from flyte_images.context.ignore import DEFAULT_IGNORE, Ignore, parse_ignore
from flyte_images.errors import SpecError


def is_ignored(path: str, *patterns: str) -> bool:
    """Match a path as a scan does: its parents first."""
    rules, ignored = Ignore(patterns), False
    matched: tuple[bool, ...] = ()
    parts = path.split("/")
    for length in range(1, len(parts) + 1):
        ignored, matched = rules.match("/".join(parts[:length]), matched)
    return ignored


@pytest.mark.parametrize(
    ("pattern", "ignored", "kept"),
    [
        ("a.txt", ["a.txt", "a.txt/x"], ["b/a.txt", "a.txt2"]),
        ("/a.txt", ["a.txt"], ["b/a.txt"]),
        ("./a//b/", ["a/b", "a/b/c"], ["a"]),
        ("*", ["a", "a/b"], []),
        ("*.txt", ["a.txt", ".txt"], ["a/b.txt", "a.txt.py"]),
        ("*/*.txt", ["a/b.txt"], ["a.txt", "a/b/c.txt"]),
        ("a?c", ["abc"], ["ac", "a/c", "abcd"]),
        ("a[bc]", ["ab", "ac"], ["ad", "a[bc]"]),
        ("a[^bc]", ["ad"], ["ab"]),
        ("a[a-c]", ["ab"], ["ad", "a-"]),
        (r"a[\]]", ["a]"], ["a"]),
        (r"\*", ["*"], ["a"]),
        ("**", ["a", "a/b"], []),
        ("**/x", ["x", "a/x", "a/b/x", "a/x/y"], ["ax", "a/bx"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
        ("a/**/x", ["a/x", "a/b/x", "a/b/c/x"], ["x", "ax"]),
        ("**/*.py[co]", ["a.pyc", "a/b.pyo"], ["a.py", "a/b.pyd"]),
        ("**x", ["x", "ax", "a/bx"], ["xa"]),
        ("a.+()|{}$^b", ["a.+()|{}$^b"], ["a"]),
        ("caf\udce9", ["caf\udce9"], ["cafe"]),
        ("*", ["line\nbreak"], []),
    ],
)
def test_one_pattern(pattern: str, ignored: list[str], kept: list[str]) -> None:
    assert [path for path in ignored + kept if is_ignored(path, pattern)] == ignored


@pytest.mark.parametrize(
    ("patterns", "path", "ignored"),
    [
        (["*.md", "!README.md"], "README.md", False),
        (["!README.md", "*.md"], "README.md", True),
        (["docs", "!docs/README.md"], "docs/README.md", False),
        (["docs", "!docs/README.md"], "docs/other", True),
        (["docs/*", "!docs/keep", "docs/keep/not"], "docs/keep/not", True),
        (["docs/*", "!docs/keep", "docs/keep/not"], "docs/keep/this", False),
        (["*", "!a"], "a/b", False),
        (["*", "!**/keep"], "a/b/keep", False),
        (["a", "!a", "a/b", "!a/b/c"], "a/b/c", False),
    ],
)
def test_the_last_match_counts(patterns: list[str], path: str, ignored: bool) -> None:
    assert is_ignored(path, *patterns) is ignored


@pytest.mark.parametrize(
    ("pattern", "folder", "enters"),
    [
        ("!a/b/c", "a", True),
        ("!a/b/c", "a/b", True),
        ("!a/b/c", "a/x", False),
        ("!a/b/c", "x", False),
        ("!**/c", "x/y", True),
        ("!a*/c", "abc", True),
        ("!a", "a/b", True),
        ("a", "a", False),
    ],
)
def test_ignored_folders_are_entered_only_if_a_rule_may_include_something(
    pattern: str, folder: str, enters: bool
) -> None:
    assert Ignore(["*", pattern]).may_include_below(folder) is enters


@pytest.mark.parametrize("path", [".git", "a/.git/config", "a/__pycache__/b.pyc", "x.pyc", ".venv/bin/python"])
def test_what_tools_leave_behind_is_ignored(path: str) -> None:
    assert is_ignored(path, *DEFAULT_IGNORE)


@pytest.mark.parametrize("path", ["main.py", ".env", "build/x", "data.git", "node_modules/x", "venv"])
def test_nothing_else_is_ignored(path: str) -> None:
    assert not is_ignored(path, *DEFAULT_IGNORE)


def test_an_ignore_file() -> None:
    text = "\ufeff# comment\r\n  a  \r\n\r\n#b\n! c \n #d\n"
    assert parse_ignore(text) == ["a", "! c", "#d"]
    assert not is_ignored("c", "*", "! c ")


@pytest.mark.parametrize("pattern", ["!", "! ", "[", "a[", "[]", "[z-a]"])
def test_a_pattern_that_means_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(SpecError, match="is not an ignore pattern"):
        Ignore([pattern])
