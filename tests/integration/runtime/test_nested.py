"""Nested calls: a task calls tasks of other environments, which run in containers of those environments."""

from __future__ import annotations

import asyncio

import pytest

import flyte_images as flyte

from . import nested_tasks as tasks

pytestmark = pytest.mark.engine
quiet = flyte.run.using(on_line=None)


def test_a_task_of_another_environment_runs_in_that_environments_container() -> None:
    assert quiet(tasks.calls, 4).result == ["outer", ("inner", 5, "1"), "outer", "outer"]


def test_several_run_at_once_from_one_task() -> None:
    assert quiet(tasks.gathers, 4).result == [0, 1, 4, 9]
    assert quiet(tasks.maps, 3).result == [0, 1, 4]


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("value", "value: inside"),
        ("own", "Raised: task `inner.fails` raised"),
        ("hog", "memory: task `inner.fails` was killed"),
    ],
)
def test_the_outer_task_can_catch_how_an_inner_one_ended(kind: str, start: str) -> None:
    assert quiet(tasks.catches, kind).result.startswith(start)


def test_tasks_that_call_each_other_in_a_cycle_end_in_an_error() -> None:
    with pytest.raises(RecursionError, match=r"more than 16 deep: is there a cycle\? \.\.\. -> "):
        quiet(tasks.ping, 0)


def test_a_task_may_lower_limits_of_a_task_that_it_calls_but_not_change_its_rights() -> None:
    assert "cannot override `user`" in str(quiet(tasks.overrides, "32Mi").result)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("module", "knows no task `os.system`"),
        ("number", "a call has a number"),
        ("settings", "cannot override `mounts`"),
        ("arguments", "parameter `n`: expected int, got str 'x'"),
    ],
)
def test_a_forged_call_is_refused(field: str, message: str) -> None:
    assert message in quiet(tasks.forges, field).result


def test_the_inner_tasks_end_with_the_outer_one() -> None:
    with pytest.raises(flyte.TimedOut):
        quiet(tasks.gathers.override(timeout=0.6), 2)

    async def cancel() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(quiet.aio(tasks.gathers, 3), 0.4)  # each inner task sleeps longer

    asyncio.run(cancel())
