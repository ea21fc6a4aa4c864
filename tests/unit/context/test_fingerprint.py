"""Every change of a tree shows in its statuses; a tree where this may fail has no fingerprint."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_images.context.file_index import RACY
from flyte_images.context.fingerprint import Fingerprint, take_fingerprint
from flyte_images.context.tree import scan

IGNORED = ("**/ignored",)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "package" / "ignored").mkdir(parents=True)
    for name in ("a.py", "package/b.py", "package/ignored/c.py"):
        (tmp_path / name).write_text("value = 1\n")
    (tmp_path / "link").symlink_to("a.py")
    return tmp_path


def seen(root: Path, *patterns: str) -> Fingerprint | None:
    return take_fingerprint(
        scan(root, patterns), patterns, looked_at=time.time_ns() + RACY + 1_000_000_000, settled=lambda _: True
    )


CHANGES: dict[str, Callable[[Path], object]] = {
    "another content": lambda root: (root / "a.py").write_text("value = 2\n"),
    "another mode": lambda root: (root / "a.py").chmod(0o700),
    "a new file": lambda root: (root / "package" / "new.py").touch(),
    "a file less": lambda root: (root / "package" / "b.py").unlink(),
    "a new name": lambda root: (root / "a.py").rename(root / "z.py"),
    "another link": lambda root: ((root / "link").unlink(), (root / "link").symlink_to("b.py")),
    "rules": lambda root: (root / ".dockerignore").write_text("a.py\n"),
    "gone": lambda root: root.rename(root.with_name("elsewhere")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_noticed(root: Path, change: Callable[[Path], object]) -> None:
    known = seen(root, *IGNORED)
    assert known is not None
    assert known.holds()
    change(root)
    assert not known.holds()


def test_changed_ignore_rules_are_noticed(root: Path) -> None:
    (root / ".dockerignore").write_text(".dockerignore\nlink\n")
    known = seen(root)
    assert known is not None
    (root / ".dockerignore").write_text(".dockerignore\na.py\n")
    assert not known.holds()


def test_ignored_files_may_change(root: Path) -> None:
    known = seen(root, *IGNORED)
    (root / "package" / "ignored" / "c.py").write_text("value = 3\n")
    assert known is not None
    assert known.holds()


def test_a_tree_that_changed_a_moment_ago_has_no_fingerprint(root: Path) -> None:
    assert take_fingerprint(scan(root), (), looked_at=time.time_ns(), settled=lambda _: True) is None
    os.utime(root / "a.py", ns=(0, 0))  # the time of change is the kernel's
    assert take_fingerprint(scan(root), (), looked_at=time.time_ns(), settled=lambda _: True) is None


def test_a_tree_with_a_file_that_is_not_settled_has_no_fingerprint(root: Path) -> None:
    """D31: a store through a shared mapping may not change the times of a file."""
    later = time.time_ns() + RACY + 1_000_000_000
    assert take_fingerprint(scan(root), (), looked_at=later, settled=lambda path: path != b"a.py") is None


def test_a_tree_with_including_rules_has_no_fingerprint(root: Path) -> None:
    assert seen(root, "package", "!package/b.py") is None
    (root / ".dockerignore").write_text("package\n!package/b.py\n")
    assert seen(root) is None
