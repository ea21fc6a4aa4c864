"""The directories of a task: private, removed afterwards, and no link in them is followed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images_runtime.system.process_id import current, new_name, parse
from flyte_images_runtime.task import exchange as module
from flyte_images_runtime.task.exchange import Exchange, left_over, make_exchange
from flyte_images_runtime.values import Problem
from flyte_images_runtime.values.budget import Budget

BUDGET = Budget(memory=1 << 20, disk=1 << 20)


@pytest.fixture
def exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exchange]:
    monkeypatch.setattr(module, "memory_base", lambda: tmp_path / "memory")
    monkeypatch.setattr(module, "disk_base", lambda: tmp_path / "disk")
    yield make_exchange()


def test_an_exchange_is_private_and_removed_without_a_trace(exchange: Exchange, tmp_path: Path) -> None:
    assert exchange.inputs.stat().st_mode & 0o777 == 0o755
    assert exchange.inputs.parent.stat().st_mode & 0o777 == 0o700
    assert exchange.outputs.stat().st_mode & 0o777 == 0o700
    owner = parse(exchange.name)
    assert owner == current()
    assert {path.name for path in left_over(str(owner))} == {exchange.name}
    exchange.write_call({"a": 1})
    exchange.remove()
    exchange.remove()
    assert list(tmp_path.iterdir()) == []


def test_two_tasks_share_only_the_parent_directory(exchange: Exchange) -> None:
    other = make_exchange()
    assert other.inputs != exchange.inputs
    exchange.remove()
    assert other.inputs.is_dir()
    other.remove()


def test_a_result_is_read_only_if_it_is_a_plain_file(exchange: Exchange, tmp_path: Path) -> None:
    assert exchange.read("result.json", BUDGET) is None
    (exchange.outputs / "result.json").write_text(json.dumps({"result": 1}))
    assert exchange.read("result.json", BUDGET) == {"result": 1}
    secret = tmp_path / "secret.json"
    secret.write_text('"sesame"')
    (exchange.outputs / "link.json").symlink_to(secret)
    os.mkfifo(exchange.outputs / "pipe.json")
    (exchange.outputs / "directory.json").mkdir()
    (exchange.outputs / "rubbish.json").write_text("{")
    (exchange.outputs / "deep.json").write_text("[" * 100_000)
    for name in ("link.json", "pipe.json", "directory.json", "rubbish.json", "deep.json"):
        with pytest.raises(Problem):
            exchange.read(name, BUDGET)
    assert exchange.time_of("link.json") is None


def test_a_result_without_end_is_refused(exchange: Exchange) -> None:
    (exchange.outputs / "result.json").write_text(json.dumps("x" * 2000))
    with pytest.raises(Problem, match="longer than"):
        exchange.read("result.json", Budget(memory=3000, disk=0))


def test_outputs_that_became_a_link_are_not_followed(exchange: Exchange, tmp_path: Path) -> None:
    exchange.outputs.rmdir()
    (tmp_path / "elsewhere").mkdir()
    exchange.outputs.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        exchange.read("result.json", BUDGET)


def test_a_directory_that_is_not_ours_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D25: a user who makes the directory first cannot keep other users from running tasks."""
    monkeypatch.setattr(module, "memory_base", lambda: tmp_path / "memory")
    monkeypatch.setattr(module, "disk_base", lambda: tmp_path / "disk")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory").chmod(0o777)
    (tmp_path / "disk").symlink_to(tmp_path / "memory")
    one, other = make_exchange(), make_exchange()
    beside = one.inputs.parent.parent
    assert beside == other.inputs.parent.parent
    assert beside.name.startswith("memory-")
    assert beside.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in left_over("")} == {one.name, other.name}
    one.remove()
    other.remove()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "memory"]
    assert list((tmp_path / "memory").iterdir()) == []


def test_a_socket_is_for_the_user_of_the_task_alone(exchange: Exchange) -> None:
    """D4: no other user may connect to the socket for nested calls."""
    with exchange.listen("host.sock"):
        exchange.give_to(12345, 12346)
        found = (exchange.inputs / "host.sock").stat()
        assert found.st_mode & 0o777 == 0o600
        if os.geteuid() == 0:
            assert (found.st_uid, found.st_gid) == (12345, 12346)


def test_a_process_is_gone_only_if_that_is_certain() -> None:
    here = current()
    assert not here.is_gone()
    text = str(here)
    dead = parse(text.replace(f"-{here.pid}-", "-4194304-"))
    reused = parse(text.rpartition("-")[0] + "-1")
    elsewhere = parse("ffffffff" + text[8:])
    assert dead is not None and dead.is_gone()
    assert reused is not None and reused.is_gone()  # the same pid, another process
    assert elsewhere is not None and not elsewhere.is_gone()  # another machine's
    assert new_name() != new_name()
