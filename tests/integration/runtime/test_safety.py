"""A task can harm neither this machine nor another task, and nothing of it is left, whichever process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import flyte_images as flyte
from flyte_images_runtime.cgroup import group_names
from flyte_images_runtime.cgroup.group import Group, parse_mounts
from flyte_images_runtime.engines.docker import DockerEngine
from flyte_images_runtime.engines.reaper import sweep
from flyte_images_runtime.system.process_id import ProcessId, current

from . import tasks
from .conftest import NOTHING, left

pytestmark = pytest.mark.engine
quiet = flyte.run.using(on_line=None)
Program = Callable[..., "subprocess.Popen[str]"]


def test_a_task_has_only_the_rights_that_it_needs() -> None:
    found = quiet(tasks.rights).result
    assert found["uid"] != 0
    assert int(found["capabilities"], 16) == 0
    assert int(found["bounding"], 16) == 0
    assert found["no_new_privs"] == "1"
    assert found["seccomp"] == "2"
    for place in ("root", "code", "inputs", "worker"):
        assert found[place] in ("OSError30", "PermissionError13"), place
    assert found["tmp"] == found["home"] == "yes"
    assert found["engine"] == "FileNotFoundError2"
    assert found["setuid"] == "PermissionError1"
    assert found["mount"] != 0
    assert found["interfaces"] == ["lo"]
    assert len(found["processes"]) <= 3  # only its own


def test_each_right_is_given_by_name() -> None:
    loose = tasks.rights.override(
        user="0:0", read_only_root=False, capabilities=["SYS_NICE", "DAC_OVERRIDE"], network="outbound"
    )
    found = quiet(loose).result
    assert found["uid"] == 0
    assert found["root"] == "yes"
    assert int(found["capabilities"], 16) == (1 << 23) | (1 << 1)
    assert found["interfaces"] != ["lo"]
    assert found["code"] == "OSError30"


def test_a_fork_bomb_ends_at_its_own_limit() -> None:
    assert quiet(tasks.fork_bomb.override(pids=64)).result < 64


def test_mounts_are_read_only_by_default(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(OSError, match="Read-only"):
        quiet(tasks.fill.override(mounts=[f"{tmp_path}/shared:/data"]), "/data/x", 1)
    quiet(tasks.fill.override(mounts=[f"{tmp_path}/shared:/data:rw"]), "/data/x", 1)
    assert (tmp_path / "shared" / "x").stat().st_size == 1 << 20


def test_processes_that_a_task_leaves_end_with_it() -> None:
    assert quiet(tasks.leave_children).result == 1
    deadline = time.monotonic() + 20  # a thread removes the group while the result is read
    while (groups := left(str(current())).groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert groups == frozenset()


ENGINES = pytest.mark.parametrize("name", ["docker", "oci"])
SLEEPER = """
    import os, sys, time
    import flyte_images as flyte

    env = flyte.TaskEnvironment(name="sleep", image="{image}", limits=flyte.Resources(memory="128Mi"))

    @env.task
    def sleep() -> int:
        print("asleep", flush=True)
        time.sleep(600)
        return 1

    if __name__ == "__main__":
        from flyte_images_runtime.system.process_id import current
        print(current(), flush=True)
        flyte.run.using(on_line=lambda task, stream, line: print(line, flush=True), engine="{engine}")(sleep)
"""


def asleep(process: subprocess.Popen[str]) -> str:
    """Wait until the task sleeps. Return its owner."""
    assert process.stdout is not None
    owner = process.stdout.readline().strip()
    assert process.stdout.readline().strip() == "asleep", process.communicate()
    assert left(owner).groups
    return owner


def gone(owner: str, within: float = 30.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if left(owner) == NOTHING:
            return True
        time.sleep(0.1)
    return False


@ENGINES
def test_ctrl_c_leaves_nothing(program: Program, name: str) -> None:
    process = program(SLEEPER.replace("{engine}", name))
    owner = asleep(process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert left(owner) == NOTHING


@ENGINES
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_caller_that_is_killed_leaves_nothing(program: Program, number: signal.Signals, name: str) -> None:
    process = program(SLEEPER.replace("{engine}", name))
    owner = asleep(process)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert gone(owner)


@ENGINES
def test_without_its_helper_the_container_ends_and_the_next_caller_sweeps(program: Program, name: str) -> None:
    process = program(SLEEPER.replace("{engine}", name))
    owner = asleep(process)
    for keeper in _keepers(process.pid):
        os.kill(keeper, signal.SIGKILL)
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while _running(owner) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _running(owner)  # its supervisor saw the end of stdin
    assert gone_processes(owner)
    quiet(tasks.slow, 0.0)
    sweep("unix:///var/run/docker.sock")
    assert gone(owner)


def gone_processes(owner: str, within: float = 30.0) -> bool:
    """Return whether nothing runs in the owner's cgroups."""
    hierarchies = parse_mounts(Path("/proc/self/mounts").read_text())
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not any(Group(name, hierarchies).processes() for name in group_names(owner)):
            return True
        time.sleep(0.1)
    return False


def _running(owner: str) -> bool:
    import json

    filters = json.dumps({"label": [f"io.flyte-images.owner={owner}"], "status": ["running"]})
    return bool(flyte.run.state.engines.docker().api.call("GET", "/containers/json", filters=filters))


def _keepers(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    found = [child for child in children if b"engines.reaper" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert found
    return found


@ENGINES
def test_the_sweep_keeps_the_containers_of_living_callers(program: Program, name: str) -> None:
    process = program(SLEEPER.replace("{engine}", name))
    owner = asleep(process)
    assert not ProcessId(*(lambda o: (o.boot, o.space, o.pid, o.start))(current())).is_gone()
    sweep("unix:///var/run/docker.sock")
    assert left(owner) != NOTHING
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert left(owner) == NOTHING


def test_a_container_removed_by_another_program(program: Program, engine: DockerEngine) -> None:
    process = program(SLEEPER.replace("{engine}", "docker"))
    owner = asleep(process)
    [container] = left(owner).containers
    engine.api.call("DELETE", f"/containers/{container}", force="true")
    _, errors = process.communicate(timeout=60)
    assert "Killed" in errors
    assert gone(owner)


def test_a_container_that_is_stopped_from_outside(program: Program, engine: DockerEngine) -> None:
    process = program(SLEEPER.replace("{engine}", "docker"))
    owner = asleep(process)
    [container] = left(owner).containers
    engine.api.call("POST", f"/containers/{container}/stop", t=60)
    _, errors = process.communicate(timeout=60)
    assert "Killed" in errors
    assert "SIGTERM" in errors  # the container ended without SIGKILL
    assert gone(owner)
