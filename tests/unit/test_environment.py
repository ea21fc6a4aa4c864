"""Options of tasks: a wrong one is an error at its line, and the later one wins."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from typing import Any

import pytest

import flyte_images as flyte
from flyte_images.errors import SpecError
from flyte_images.options import Options

from .house.house import ROOT


def env(**settings: Any) -> flyte.TaskEnvironment:
    return flyte.TaskEnvironment(name="ml", **settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"limits": {"cpu": 1}}, "limits={'cpu': 1} is not a Resources"),
        ({"limits": flyte.Resources(cpu=1), "resources": flyte.Resources(cpu=1)}, "two names of one option"),
        ({"accelerator": "T4", "limits": flyte.Resources(gpu="A10G:1")}, "A10G"),
        ({"env_vars": {"A": 1}}, "the value of `A` is not a string"),
        ({"env_vars": {"A=B": "x"}}, "'A=B' is not a variable's name"),
        ({"env_vars": ["A=1"]}, "not a mapping"),
        ({"secrets": [3]}, "3 is not a Secret"),
        ({"timeout": "fast"}, "timeout='fast' is not a time"),
        ({"timeout": -1}, "timeout=-1"),
        ({"timeout": True}, "timeout=True"),
        ({"retries": -1}, "retries=-1"),
        ({"retries": 1.5}, "retries=1.5"),
        ({"gpu_wait": -1}, "gpu_wait=-1 is not a time"),
        ({"cache": "sometimes"}, "cache='sometimes'"),
        ({"network": "wifi"}, "network='wifi'"),
        ({"mounts": ["a"]}, "'a' is not a mount"),
        ({"mounts": ["a:/b"]}, "there is no `a`"),
        ({"mounts": ["/tmp:/b:rx"]}, "is not a mount"),
        ({"workdir": "a"}, "not an absolute path"),
        ({"user": "ada"}, "user='ada'"),
        ({"capabilities": ["ALL"]}, "'ALL' is not a capability"),
        ({"pids": 1}, "pids=1"),
        ({"runtime": "a b"}, "runtime='a b'"),
        ({"read_only_root": 1}, "is not True or False"),
        ({"reusable": 3}, "reusable=3"),
        ({"limitz": 1}, "there is no option `limitz`"),
        ({"image": 3}, "image=3 is not an Image"),
    ],
)
def test_a_wrong_option_is_an_error_at_its_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        env(**settings)
    assert said in str(caught.value)
    assert caught.value.location is not None
    assert caught.value.location.file == __file__
    if settings not in ({"limitz": 1}, {"image": 3}):
        with pytest.raises(SpecError, match=r".") as again:
            env().task(**settings)
        assert str(again.value) == str(caught.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: flyte.ReusePolicy(replicas=0), "replicas=0"),
        (lambda: flyte.ReusePolicy(max_calls=True), "max_calls=True"),
        (lambda: flyte.ReusePolicy(idle_ttl=-1), "idle_ttl=-1"),
        (lambda: flyte.RetryStrategy(1, backoff=-1), "backoff=-1"),
        (lambda: flyte.RetryStrategy(1, factor=0.5), "factor=0.5"),
        (lambda: flyte.RetryStrategy(1, cap=float("nan")), "cap=nan"),
    ],
)
def test_a_policy_without_an_end_is_refused(make: Any, said: str) -> None:
    with pytest.raises(flyte.errors.SpecError, match=said) as caught:
        make()
    assert caught.value.location is not None
    assert caught.value.location.file == __file__


@pytest.mark.parametrize("name", ["", "ML", "a b", "-a", "a--b", "a_", 3])
def test_a_name_of_an_environment(name: Any) -> None:
    with pytest.raises(SpecError, match="not a name for an environment"):
        flyte.TaskEnvironment(name=name)


@pytest.mark.parametrize("text", ["TaskEnvironment", "README"])
def test_every_option_is_in_the_table(text: str) -> None:
    table = flyte.TaskEnvironment.__doc__ if text == "TaskEnvironment" else (ROOT / "README.md").read_text("utf-8")
    assert table is not None
    options = {*flyte.Settings.__annotations__, "name", "image", "description", "depends_on"}
    words = set(re.findall(r"\w+", table if text == "TaskEnvironment" else table[table.index("All options of") :]))
    assert options - words == set()


def test_a_name_alone_is_enough() -> None:
    one = flyte.TaskEnvironment(name="ml")
    assert one.options == Options()
    assert one.built_image.base == flyte.Image.from_debian_base().base
    assert flyte.TaskEnvironment(name="ml", image="ubuntu:24.04").built_image.base.title == "ubuntu:24.04"


def test_environment_then_decorator_then_call() -> None:
    one = env(timeout=60, retries=2, env_vars={"A": "1"}, limits=flyte.Resources(cpu=2), network="none")

    @one.task(timeout=datetime.timedelta(minutes=2), retries=0)
    def task(a: int) -> int:
        return a

    assert (task.options.timeout, task.options.retries.count, task.options.network) == (120.0, 0, "none")
    other = task.override(timeout=None, limits=flyte.Resources(cpu=1), user=0, capabilities="CAP_SYS_NICE")
    assert other.options.timeout is None
    assert other.options.limits().cpu == 1
    assert (other.options.hardening.user, other.options.hardening.capabilities) == ("0:0", ("SYS_NICE",))
    assert other.options.env_vars == (("A", "1"),)
    assert (task.options.timeout, task.options.limits().cpu) == (120.0, 2)  # unchanged
    assert (other(3), other.name) == (3, "ml.task")


def test_a_task_needs_a_function() -> None:
    one = env()

    class Callable:
        def __call__(self) -> None: ...

    def generator() -> Any:
        yield 1

    for function, said in ((Callable, "not a function"), (Callable(), "not a function"), (generator, "yields")):
        with pytest.raises(SpecError, match=said):
            one.task(function)
    task = one.task(lambda: None)
    with pytest.raises(SpecError, match="is already a task"):
        one.task(task)
    with pytest.raises(SpecError, match="not a task"):
        flyte.run(lambda: None)  # type: ignore[arg-type]


def test_a_signature_that_cannot_cross_names_the_task_and_its_line() -> None:
    def task(a: int, b: type) -> None: ...

    made = env().task(task)
    with pytest.raises(SpecError, match=r"task `ml.task`: parameter `b`: type cannot cross") as caught:
        _ = made.signature
    assert caught.value.location is not None
    assert caught.value.location.file == __file__


async def _double(n: int) -> int:
    return 2 * n


def test_every_task_can_be_awaited() -> None:
    import asyncio

    asynchronous = env().task(_double)
    synchronous = env().task(lambda n: n + 1)
    assert asyncio.run(asynchronous.aio(3)) == 6
    assert asyncio.run(synchronous.aio(3)) == 4


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, flyte_images as flyte\n"
        "env = flyte.TaskEnvironment(name='a', limits=flyte.Resources(cpu=1))\n"
        "@env.task\ndef f(a: int) -> int: ...\n"
        "heavy = ('grpc', 'pydantic', 'numpy', 'asyncio', 'python_on_whales', 'rich', 'yaml', 'ssl', 'http')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_clone_has_the_options_and_none_of_the_tasks() -> None:
    one = env(timeout=60, env_vars={"A": "1"}, image="ubuntu:24.04")
    one.task(lambda: None)
    other = one.clone_with("other", limits=flyte.Resources(cpu=1), env_vars={"B": "2"})
    assert (other.name, other.tasks, other.image, other.options.timeout) == ("other", {}, "ubuntu:24.04", 60.0)
    assert other.options.env_vars == (("B", "2"),)
    assert one.options.resources is None
    with pytest.raises(SpecError, match="no option `limit`"):
        one.clone_with("other", limit=1)  # type: ignore[call-arg]
