"""Nested calls: their limits and options, and how many work at once."""

from __future__ import annotations

import threading

import pytest

import flyte_images as flyte
from flyte_images.errors import SpecError
from flyte_images.runner.nested_limits import has_own_share, override_task
from flyte_images.runner.nested_slots import Lane, Slots, check_count

env = flyte.TaskEnvironment(name="env", limits=flyte.Resources(cpu="1", memory="128Mi", shm="64Mi"))


@env.task(timeout=10)
def task() -> None: ...


class WaitingJob:
    """A job that ends when its event is set."""

    def __init__(self, began: list[WaitingJob]) -> None:
        self._began = began
        self.started = threading.Event()
        self.end = threading.Event()
        self.dropped = False

    def __call__(self) -> None:
        self._began.append(self)
        self.started.set()
        assert self.end.wait(20)

    def drop(self) -> None:
        self.dropped = True


def test_calls_beyond_the_slots_wait_without_a_thread() -> None:
    """D11: one call works in the lane, one in the slot; the others follow in order when one of them is free."""
    began: list[WaitingJob] = []
    jobs = [WaitingJob(began) for _ in range(50)]
    lane = Lane(Slots(1))
    before = threading.active_count()
    for job in jobs:
        lane.add(job)
    assert jobs[0].started.wait(20)
    assert jobs[1].started.wait(20)
    assert threading.active_count() <= before + 2
    assert len(began) == 2
    assert len(lane.clear()) == 48
    for job in jobs:
        job.end.set()


def test_the_first_nested_call_of_a_task_needs_no_slot() -> None:
    """D11: otherwise tasks that call each other would deadlock."""
    slots = Slots(0)
    began: list[WaitingJob] = []
    for _ in range(5):
        job = WaitingJob(began)
        Lane(slots).add(job)
        assert job.started.wait(20)
    assert len(began) == 5
    for job in began:
        job.end.set()


def test_a_free_slot_goes_to_a_waiting_job_of_any_lane() -> None:
    began: list[WaitingJob] = []
    first, second, third, fourth = jobs = [WaitingJob(began) for _ in range(4)]
    slots = Slots(1)
    one, other = Lane(slots), Lane(slots)
    for lane, job in ((one, first), (one, second), (other, third), (other, fourth)):
        lane.add(job)
    for job in (first, second, third):
        assert job.started.wait(20)
    assert not fourth.started.is_set()
    second.end.set()
    assert fourth.started.wait(20)
    for job in jobs:
        job.end.set()


def test_the_number_of_slots_is_checked() -> None:
    assert check_count(3) == 3
    with pytest.raises(SpecError, match="nested_calls=-1"):
        check_count(-1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env_vars": {"A": "1"}}, "cannot override `env_vars`"),
        ({"secrets": ["a"]}, "cannot override `secrets`"),
        ({"limits": {"memory": "1Gi"}}, "cannot raise memory of `env.task`, which it calls, to 1Gi"),
        ({"resources": {"mem": "1Gi"}}, "cannot raise memory"),
        ({"limits": {"cpu": 1.5}}, "cannot raise cpu"),
        ({"limits": {"shm": "128Mi"}}, "cannot raise shm"),
        ({"limits": None}, "is not a Resources"),
        ({"timeout": 11}, "cannot raise timeout"),
        ({"timeout": 0}, "cannot raise timeout"),
    ],
)
def test_a_container_cannot_raise_a_limit_or_set_a_right(settings: object, message: str) -> None:
    """D3, D11: the settings are as they arrive from the container."""
    with pytest.raises(SpecError, match=message):
        override_task(task, settings)


def test_a_container_can_lower_limits() -> None:
    """D11: fields that the container leaves out stay as the definition has them."""
    lower = override_task(task, {"limits": {"memory": "32Mi"}, "timeout": 5, "retries": 2})
    limits = lower.options.limits()
    assert (limits.memory, limits.cpu, limits.shm) == (32 << 20, 1, None)
    assert (lower.options.timeout, lower.options.retries.count) == (5.0, 2)
    assert override_task(task, None) is task


def test_a_call_has_its_own_share_where_its_environment_states_limits_or_nested_own() -> None:
    """D11: by default an environment that states limits has its own share, but not below itself."""
    call = flyte.run.call(task, (), {})
    other = env.clone_with("other")

    def variant(**settings: object) -> flyte.environment.Task[..., None]:
        return other.clone_with("another", **settings).task(task.function)  # type: ignore[arg-type]

    assert not has_own_share(task, call)
    assert not has_own_share(task, call.nested(variant(), (), {}))
    assert has_own_share(variant(), call)
    assert not has_own_share(variant(nested="shared"), call)
    assert not has_own_share(flyte.TaskEnvironment(name="none").task(task.function), call)
    assert has_own_share(env.clone_with("env-own", nested="own").task(task.function), call)
