"""Tasks and their callers are killed at random moments: nothing of them is left on the machine."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import flyte_images as flyte
from flyte_images_runtime.cgroup.group import Group, parse_mounts

from .conftest import NOTHING, left

pytestmark = pytest.mark.engine

CLIENT = """
    import random, sys, time
    import flyte_images as flyte

    env = flyte.TaskEnvironment(
        name="chaos", image="{image}", limits=flyte.Resources(cpu=1, memory="64Mi"), network="none",
        reusable=("warm" in sys.argv) or None,
    )

    @env.task
    def work(seed: int) -> int:
        chance = random.Random(seed)
        if chance.random() < 0.1:
            return len(bytearray(b"x" * (200 << 20)))  # more than its limit
        if chance.random() < 0.1:
            raise ValueError("by chance")
        time.sleep(chance.random() * 0.3)
        return seed

    if __name__ == "__main__":
        from flyte_images_runtime.system.process_id import current
        print(current(), flush=True)
        first, count = int(sys.argv[1]), int(sys.argv[2])
        run = flyte.run.using(on_line=None, engine=sys.argv[3])
        done = run.map(work, range(first, first + count), concurrency=4, return_exceptions=True)
        print(sum(not isinstance(each, Exception) for each in done), flush=True)
"""


@pytest.mark.parametrize("engine", ["docker", "oci", "oci warm"])
def test_nothing_is_left_of_two_hundred_tasks(program: Callable[..., subprocess.Popen[str]], engine: str) -> None:
    chance = random.Random(7)
    owners: list[str] = []
    tasks = 0
    while tasks < 70:
        count = chance.randint(5, 15)
        client = program(CLIENT, str(tasks), str(count), *engine.split())
        assert client.stdout is not None
        owner = client.stdout.readline().strip()
        assert owner, client.communicate()[1]
        owners.append(owner)
        tasks += count
        deadline = time.monotonic() + chance.choice([0.2, 0.5, 1.0, 2.0, 300.0])
        while client.poll() is None and time.monotonic() < deadline:
            time.sleep(chance.random() * 0.3)
            _hurt_one(owner, chance)
        client.send_signal(chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        client.wait()
    for owner in owners:
        deadline = time.monotonic() + 60
        while left(owner) != NOTHING and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left(owner) == NOTHING
    assert len(owners) > 4
    mounts = Path("/proc/self/mountinfo").read_text()
    assert not [owner for owner in owners if owner in mounts]
    deadline = time.monotonic() + 60  # the helpers sweep once more
    while any(map(_processes_of, owners)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [owner for owner in owners if _processes_of(owner)]


def _hurt_one(owner: str, chance: random.Random) -> None:
    """Kill a container, or one of a task's processes."""
    if chance.random() < 0.7:
        return
    filters = json.dumps({"label": [f"io.flyte-images.owner={owner}"]})
    containers = flyte.run.state.engines.docker().api.call("GET", "/containers/json", filters=filters)
    if containers and chance.random() < 0.5:
        victim = chance.choice(containers)["Id"]
        subprocess.run(["docker", "rm", "-f", victim], capture_output=True)
        return
    hierarchies = parse_mounts(Path("/proc/self/mounts").read_text())
    pids = [pid for name in left(owner).groups for pid in Group(name, hierarchies).processes() if pid]
    if pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(pids), signal.SIGKILL)


def _processes_of(owner: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and owner.encode() in (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found
