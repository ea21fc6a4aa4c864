"""What nested calls may have, and how many work at once."""

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


class Waiting:
    """A job that ends when it is let."""

    def __init__(self, began: list[Waiting]) -> None:
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


def test_calls_above_the_slots_wait_without_a_thread() -> None:
    """D11: one works in the lane of its caller, one in the slot, the others in their order when either is free."""
    began: list[Waiting] = []
    jobs = [Waiting(began) for _ in range(50)]
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


def test_a_task_that_waits_for_its_own_call_needs_no_slot() -> None:
    """D11: else tasks that call each other would wait for each other without end."""
    slots = Slots(0)
    began: list[Waiting] = []
    for _ in range(5):
        job = Waiting(began)
        Lane(slots).add(job)
        assert job.started.wait(20)
    assert len(began) == 5
    for job in began:
        job.end.set()


def test_a_slot_goes_to_whoever_waits() -> None:
    began: list[Waiting] = []
    first, second, third, fourth = jobs = [Waiting(began) for _ in range(4)]
    slots = Slots(1)
    ours, theirs = Lane(slots), Lane(slots)
    for lane, job in ((ours, first), (ours, second), (theirs, third), (theirs, fourth)):
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
    ("said", "message"),
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
def test_a_container_can_say_no_more_than_the_definition(said: object, message: str) -> None:
    """D3, D11: in a document as it arrives."""
    with pytest.raises(SpecError, match=message):
        override_task(task, said)


def test_a_container_can_say_less() -> None:
    """D11: what it leaves out stays as it is defined."""
    made = override_task(task, {"limits": {"memory": "32Mi"}, "timeout": 5, "retries": 2})
    limits = made.options.limits()
    assert (limits.memory, limits.cpu, limits.shm) == (32 << 20, 1, None)
    assert (made.options.timeout, made.options.retries.count) == (5.0, 2)
    assert override_task(task, None) is task


def test_limits_count_beside_the_callers_where_the_environment_says_so() -> None:
    """D11: by default where it states some, but not below itself."""
    call = flyte.run.call(task, (), {})
    other = env.clone_with("other")

    def made(**settings: object) -> flyte.environment.Task[..., None]:
        return other.clone_with("another", **settings).task(task.function)  # type: ignore[arg-type]

    assert not has_own_share(task, call)
    assert not has_own_share(task, call.nested(made(), (), {}))
    assert has_own_share(made(), call)
    assert not has_own_share(made(nested="shared"), call)
    assert not has_own_share(flyte.TaskEnvironment(name="none").task(task.function), call)
    assert has_own_share(env.clone_with("env-own", nested="own").task(task.function), call)
