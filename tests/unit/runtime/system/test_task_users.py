"""Each task of root has a user that no account and no other task has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flyte_images_runtime.system import task_users
from flyte_images_runtime.system.task_users import free_numbers, lend_user


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(task_users, "_LOCKS", tmp_path / "users")
    return tmp_path / "users"


def test_two_tasks_never_have_the_same_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """D4: another task gets a number only when it was given back."""
    monkeypatch.setattr(task_users, "_numbers", lambda: range(70_000, 70_003))
    monkeypatch.setattr(task_users, "_accounts", lambda: (range(70_001, 70_002),))
    one, other = lend_user(), lend_user()
    assert {one.number, other.number} == {70_000, 70_002}
    with pytest.raises(OSError, match="no user number"):
        lend_user()
    one.give_back()
    one.give_back()
    assert lend_user().number == one.number


def test_the_user_of_a_killed_process_is_free(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_users, "_numbers", lambda: range(70_000, 70_001))
    code = (
        "import sys, pathlib; from flyte_images_runtime.system import task_users as users\n"
        "users._LOCKS = pathlib.Path(sys.argv[1]); "
        "users._numbers = lambda: range(70_000, 70_001); users.lend_user(); print(flush=True); sys.stdin.read()"
    )
    argv = (sys.executable, "-c", code, str(locks))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(OSError, match="no user number"):
            lend_user()
        process.kill()
    assert lend_user().number == 70_000


def test_the_numbers_are_those_of_the_user_namespace() -> None:
    every = free_numbers("         0          0 4294967295\n")
    assert every.start > 2_000_200_000, "directory services map accounts to lower numbers"
    assert every.stop < 1 << 31, "programs read larger numbers as negative"
    small = free_numbers("0 1000 1\n1 100000 65536\n")
    assert 1000 < small.start < small.stop <= 65_534
    assert not free_numbers("0 1000 1")
