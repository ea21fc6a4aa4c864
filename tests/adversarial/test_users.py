"""Two users on one machine: what root's tasks know is not for another account of the machine, whatever its number."""

from __future__ import annotations

import contextlib
import json
import pwd
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import flyte_images as flyte
from flyte_images_runtime.cgroup.group import group_of
from flyte_images_runtime.engines.oci import OciEngine
from flyte_images_runtime.engines.oci.program import find
from flyte_images_runtime.execution.execute import call_document, execute
from flyte_images_runtime.oci.images import Images
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.task.engine import Engine, Running
from flyte_images_runtime.task.exchange import Exchange, make_exchange
from flyte_images_runtime.task.spec import Code, TaskSpec
from flyte_images_runtime.worker import paths

from ..fakes.contract_calls import CONTRACT
from ..fakes.other_engines import own_podman

# the fixtures and the look for what is left are those of the runtime's tests
from ..integration.runtime.conftest import engine, image, nothing_stays  # noqa: F401

pytestmark = pytest.mark.engine
SECRET = "hunter2-of-the-test"

# As each of the users: read what the task was given, connect to its socket, signal it. One line of JSON tells all.
PROBE = """
import json, os, socket, sys
secret, pids, users = sys.argv[1], sys.argv[2].split(","), map(int, sys.argv[3].split(","))
found = []
for user in users:
    if child := os.fork():
        status = os.waitstatus_to_exitcode(os.wait()[1])
        found += [[user, status]] if status else []
        continue
    os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
    done = 0
    for pid in pids:
        inside = f"/proc/{pid}/root/run/flyte-images/in"
        try:
            for name in os.listdir(inside):
                done |= 1
                if name.endswith(".sock"):
                    socket.socket(socket.AF_UNIX).connect(f"{inside}/{name}")
                    done |= 2
                elif secret in open(f"{inside}/{name}").read():
                    done |= 4
        except OSError:
            pass
        try:
            done |= 8 if secret in open(f"/proc/{pid}/environ").read() else 0
        except OSError:
            pass
        try:
            os.kill(int(pid), 0)
            done |= 16
        except OSError:
            pass
    os._exit(done)
print(json.dumps(found))
"""


@pytest.fixture(params=["docker", "podman", "oci"])
def runs(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    image: str,  # noqa: F811
) -> Iterator[Engine]:
    docker = flyte.run.state.engines.docker()
    if request.param == "docker":
        yield docker
    elif request.param == "podman":
        with own_podman() as podman:
            podman.take_image(image, docker.api)
            yield podman
    else:
        store = tmp_path / "rootfs"
        yield OciEngine(store, docker=docker.api, program=find())
        Images(store).release()


@contextlib.contextmanager
def asleep(runs: Engine, image: str) -> Iterator[tuple[Exchange, list[int]]]:  # noqa: F811
    """A task of root that sleeps with a secret and an argument; its exchange and its processes."""
    spec = TaskSpec(
        task="t",
        image=image,
        code=Code(module="tasks", qualname="sleep", roots=(CONTRACT,)),
        limits=Limits(memory=128 << 20),
        network="none",
    )
    exchange = make_exchange()
    started: list[Running] = []
    (exchange.inputs / "secret-1").write_text(SECRET)
    (exchange.inputs / "secret-1").chmod(0o644)
    exchange.write_call(call_document(spec, {"seconds": 60}, secrets={"TOKEN": "secret-1"}))
    with exchange.listen(paths.HOST):
        thread = threading.Thread(target=execute, args=(runs, spec, exchange), kwargs={"on_running": started.append})
        thread.start()
        try:
            deadline = time.monotonic() + 60
            while exchange.time_of(paths.BEGAN) is None:
                assert thread.is_alive() and time.monotonic() < deadline
                time.sleep(0.02)
            yield exchange, [pid for pid in group_of(exchange.name).processes() if pid]
        finally:
            for running in started:
                running.cancel()
            thread.join()
            exchange.remove()


def sampled() -> list[int]:
    """Every account of this machine but root, and numbers from 1 to 65534."""
    choose = random.Random(4)
    accounts = {entry.pw_uid for entry in pwd.getpwall()} - {0}
    return sorted({*accounts, 1, 999, 1000, 1001, 65_533, 65_534, *choose.sample(range(1, 65_535), 200)})


def test_no_other_user_reads_or_reaches_what_a_task_of_root_was_given(runs: Engine, image: str) -> None:  # noqa: F811
    """D4: no secret, argument, variable or socket of the task is for another user, nor can one signal the task."""
    with asleep(runs, image) as (_, pids):
        assert len(pids) >= 2  # the container's first process, and the task
        argv = (sys.executable, "-c", PROBE, SECRET, ",".join(map(str, pids)), ",".join(map(str, sampled())))
        found = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
        assert found == []
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in pids}
        [own] = owners - {0}
        argv = (sys.executable, "-c", PROBE, SECRET, ",".join(map(str, pids)), str(own))
        [[_, reached]] = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
        assert reached & 7 == 7, "the probe finds what there is, as the task's own user"


def test_two_tasks_of_root_are_two_users(image: str) -> None:  # noqa: F811
    """D4: one task of root is another user than the next."""
    docker = flyte.run.state.engines.docker()
    with asleep(docker, image) as (_, mine), asleep(docker, image) as (_, theirs):
        users = [{Path(f"/proc/{pid}").stat().st_uid for pid in pids} - {0} for pids in (mine, theirs)]
        assert len(users[0]) == len(users[1]) == 1
        assert users[0] != users[1]
