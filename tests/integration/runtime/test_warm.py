"""A warm container serves many calls; its limits hold for each call, and no call sees anything of another one."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import flyte_images as flyte
from flyte_images.runner.runner import Runner
from flyte_images_runtime.system.process_id import current

from ...fakes.clock import eventually
from . import broken_tasks, nested_tasks, warm_tasks
from . import tasks as cold
from .conftest import left

pytestmark = pytest.mark.engine


@pytest.fixture(params=["docker", "oci"])
def run(request: pytest.FixtureRequest) -> Iterator[Runner]:
    yield flyte.run.using(on_line=None, engine=request.param)
    flyte.run.close()


def containers() -> int:
    return len(left(str(current())).groups)


def test_calls_share_a_container_and_nothing_else(run: Runner) -> None:
    first = run(warm_tasks.leave, "a").result
    assert containers() == 1
    second = run(warm_tasks.leave, "b").result
    assert containers() == 1
    assert first["imported"] == second["imported"]  # the module was imported once
    assert first["pid"] != second["pid"]
    for report in (first, second):
        assert report["seen"] == []
        assert report["others"] == []


def test_lines_and_exceptions_belong_to_their_call(run: Runner) -> None:
    warm = cold.chatter.override(reusable=True)
    for lines in (3, 1000):
        done = run(warm, lines)
        assert done.logs.stderr.splitlines() == [f"err {n}" for n in range(lines)]
        assert done.logs.stdout.splitlines() == [*(f"out {n}" for n in range(lines)), "unfinished"]
    with pytest.raises(ValueError, match="no rows"):
        run(cold.fail.override(reusable=True), "value")


def test_a_fork_runs_its_exit_handlers_and_threads_to_the_end(run: Runner) -> None:
    for name in ("a", "b"):
        done = run(warm_tasks.parting, name)
        assert done.logs.stdout.splitlines() == [f"unfinished {name}thread {name}", f"handler {name}"]


def test_without_a_fork_calls_share_the_process(run: Runner) -> None:
    warm = warm_tasks.remember.override(reusable=flyte.ReusePolicy(fork=False))
    first, second = run(warm, "a"), run(warm, "b")
    assert (first.result[:-1], second.result[:-1]) == (["a"], ["a", "b"])
    assert first.result[-1] == second.result[-1]
    assert (first.logs.text, second.logs.text) == ("call a", "call b")
    with pytest.raises(ValueError, match="no name"):
        run(warm, "bad")
    with pytest.raises(flyte.Raised, match="SystemExit"):
        run(warm, "exit")
    assert run(warm, "c").result[:-1] == ["a", "b", "bad", "exit", "c"]
    assert containers() == 1
    with pytest.raises(flyte.Killed):
        run(warm, "gone")
    assert run(warm, "d").result[:-1] == ["d"]
    slow = cold.slow.override(reusable=flyte.ReusePolicy(fork=False), timeout=0.5)
    with pytest.raises(flyte.TimedOut):
        run(slow, 600)
    with pytest.raises(flyte.OutOfMemory, match="memory limit of 256Mi"):
        run(cold.hog.override(reusable=flyte.ReusePolicy(fork=False)), 600)


def test_large_values_cross_and_their_files_are_removed(run: Runner) -> None:
    for size in (1, 200_000, 3 << 20):
        blob = os.urandom(size)
        assert run(warm_tasks.turned, blob).result == blob[::-1]
    [shelf] = [shelf for shelf in flyte.run.state.warm_containers._shelves.values() if shelf.idle]
    exchange = shelf.idle[0].exchange
    assert not [path for path in (*exchange.inputs.iterdir(), *exchange.outputs.iterdir()) if path.is_dir()]


def test_limits_hold_and_a_killed_container_is_not_reused(run: Runner) -> None:
    warm = cold.hog.override(reusable=True)
    assert run(warm, 50).result == 50
    with pytest.raises(flyte.OutOfMemory, match="memory limit of 256Mi"):
        run(warm, 600)
    assert containers() == 0
    assert run(warm, 50).result == 50
    with pytest.raises(flyte.TimedOut):
        run(cold.slow.override(reusable=True, timeout=0.5), 600)
    with pytest.raises(flyte.Killed, match="SIGKILL"):
        run(cold.end.override(reusable=True), "kill")
    with pytest.raises(flyte.Killed, match="before it returned a result"):
        run(cold.end.override(reusable=True), "hard")


def test_lines_of_the_import_belong_to_the_first_call(run: Runner) -> None:
    task = warm_tasks.leave.override(env_vars={"SAY": "imported"})
    assert run(task, "a").logs.stdout.splitlines()[:1] == ["imported"]
    assert "imported" not in run(task, "b").logs.stdout


def test_more_callers_than_containers_wait_for_their_turn(run: Runner) -> None:
    warm = cold.slow.override(reusable=flyte.ReusePolicy(replicas=2))
    most = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.05):
            most = max(most, containers())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        runs = run.map(warm, [0.1] * 12, range(12), concurrency=6)
    finally:
        done.set()
        watcher.join()
    assert [each.result for each in runs] == list(range(12))
    assert most == 2


def test_containers_are_removed_after_their_idle_time_or_their_last_call(run: Runner) -> None:
    run(cold.echo.override(reusable=flyte.ReusePolicy(max_calls=1)), 1)
    assert containers() == 0
    run(cold.echo.override(reusable=flyte.ReusePolicy(idle_ttl=0.2)), 1)
    deadline = time.monotonic() + 30
    while containers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert containers() == 0


def test_other_options_or_secrets_get_another_container(
    run: Runner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warm = cold.read_environment.override(reusable=True, secrets="token")
    monkeypatch.setenv("TOKEN", "one")
    assert run(warm, ["TOKEN"]).result == {"TOKEN": "one"}
    monkeypatch.setenv("TOKEN", "two")
    assert run(warm, ["TOKEN"]).result == {"TOKEN": "two"}
    assert run(warm.override(env_vars={"A": "1"}), ["A"]).result == {"A": "1"}


def test_a_task_in_a_warm_container_can_call_other_tasks(run: Runner) -> None:
    warm = nested_tasks.calls.override(reusable=True)
    for n in (1, 2):
        assert run(warm, n).result == ["outer", ("inner", n + 1, "1"), "outer", "outer"]


def test_a_failing_import_is_raised(run: Runner) -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        run(broken_tasks.task)


def test_warm_containers_end_with_their_caller(program: object) -> None:
    process = program(  # type: ignore[operator]
        """
        import flyte_images as flyte, os, sys
        env = flyte.TaskEnvironment(name="w", image="{image}", reusable=True)
        @env.task
        def one() -> int:
            return 1
        if __name__ == "__main__":
            from flyte_images_runtime.system.process_id import current
            print(current(), flyte.run(one).result, flush=True)
            if "kill" in sys.argv:
                os.kill(os.getpid(), 9)
        """,
        "kill",
    )
    owner = process.communicate(timeout=60)[0].split()[0]
    deadline = time.monotonic() + 30
    while left(owner).groups and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left(owner).groups


def test_waiting_for_a_container_can_be_given_up(run: Runner, tmp_path: Path) -> None:
    """The one container is busy until this test leaves the file `go`; the second call gives up before."""
    tmp_path.chmod(0o777)
    warm = cold.meet.override(reusable=True, mounts=[f"{tmp_path}:/meeting:rw"])

    async def both() -> str:
        first = asyncio.ensure_future(run.aio(warm, "first", ["go"]))
        await asyncio.to_thread(eventually, (tmp_path / "first").exists)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run.aio(warm, "second", []), 0.5)
        assert not first.done()
        (tmp_path / "go").touch()
        return (await first).result

    assert asyncio.run(both()) == "first"
    assert not (tmp_path / "second").exists()
